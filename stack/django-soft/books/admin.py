from django.contrib import admin

from .models import Book


@admin.register(Book)
class BookAdmin(admin.ModelAdmin):
    list_display = ["title", "author", "finished", "added"]
    list_filter = ["finished"]
    search_fields = ["title", "author"]
