"""The reading list: show, add, finish, remove. Every change is a POST that leads back to it."""

from django import forms
from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from site_config.version import VERSION

from .models import Book

SHOWN = 100


class BookForm(forms.ModelForm):
    class Meta:
        model = Book
        fields = ["title", "author"]


@require_GET
def shelf(request):
    return show(request, BookForm())


@require_POST
def add(request):
    form = BookForm(request.POST)
    if not form.is_valid():
        return show(request, form, status=422)
    book = form.save()
    messages.success(request, f"Added: {book}")
    return redirect("shelf")


@require_POST
def finish(request, book_id):
    book = get_object_or_404(Book, pk=book_id)
    book.finished = not book.finished
    book.save(update_fields=["finished"])
    return redirect("shelf")


@require_POST
def remove(request, book_id):
    book = get_object_or_404(Book, pk=book_id)
    book.delete()
    messages.success(request, f"Removed: {book}")
    return redirect("shelf")


def show(request, form, status=200):
    page = {"form": form, "books": Book.objects.all()[:SHOWN], "total": Book.objects.count()}
    return render(request, "books/shelf.html", page, status=status)


@require_GET
def version(_request):
    return JsonResponse(VERSION)


# Touches nothing: it says that this process answers, and is asked many times a second in a roll.
@require_GET
def healthz(_request):
    return HttpResponse("ok", content_type="text/plain")
