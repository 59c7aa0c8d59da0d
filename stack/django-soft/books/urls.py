from django.urls import path

from . import views

urlpatterns = [
    path("", views.shelf, name="shelf"),
    path("books", views.add, name="add"),
    path("books/<int:book_id>/finish", views.finish, name="finish"),
    path("books/<int:book_id>/remove", views.remove, name="remove"),
]
