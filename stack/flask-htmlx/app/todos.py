"""The to-do list over HTTP. HTMX asks for the part that changes; without JavaScript the same
forms work and answer with the whole page."""

import socket

from flask import Blueprint, make_response, redirect, render_template, request, url_for

from .todo_list import MAX_TEXT, TodoList

blueprint = Blueprint("todos", __name__)

COOKIE = "todo"


def the_list():
    return TodoList.from_cookie(request.cookies.get(COOKIE))


def render(template, todo):
    words = request.values.get("search", "")
    return render_template(
        template,
        todo=todo,
        items=todo.matching(words),
        search=words,
        max_text=MAX_TEXT,
        instance=socket.gethostname(),
    )


def changed(todo):
    if "HX-Request" in request.headers:
        response = make_response(render("list.html", todo))
    else:
        response = redirect(url_for("todos.page"), 303)
    response.set_cookie(
        COOKIE,
        todo.to_cookie(),
        path=url_for("todos.page"),
        max_age=365 * 24 * 3600,
        httponly=True,
        samesite="Lax",
        secure=request.is_secure,
    )
    return response


@blueprint.get("/")
def page():
    return render("todo.html", the_list())


@blueprint.get("/items")
def search():
    if "HX-Request" not in request.headers:
        return page()
    return render("list.html", the_list())


@blueprint.post("/items")
def add():
    todo = the_list()
    todo.add(request.form.get("text", ""))
    return changed(todo)


@blueprint.post("/items/<int:item_id>/toggle")
def toggle(item_id):
    todo = the_list()
    todo.toggle(item_id)
    return changed(todo)


@blueprint.post("/items/<int:item_id>/remove")
def remove(item_id):
    todo = the_list()
    todo.remove(item_id)
    return changed(todo)


@blueprint.get("/instance")
def instance():
    return render("instance.html", the_list())


@blueprint.get("/healthz")
def healthz():
    return "ok", {"Content-Type": "text/plain"}
