"""The start page with links to every app, health, version."""

import os

from flask import Blueprint, render_template, request

from .version import VERSION

blueprint = Blueprint("pages", __name__)

FLASK_SOFT_PORT = os.environ.get("FLASK_SOFT_PORT", "5001")


@blueprint.get("/")
def home():
    # flask-soft has a port of its own on whatever name the visitor used to come here.
    name = request.host
    if not name.endswith("]"):
        name = name.rpartition(":")[0] or name
    return render_template("home.html", flask_soft=f"{request.scheme}://{name}:{FLASK_SOFT_PORT}/")


@blueprint.get("/version")
def version():
    return VERSION


# Touches nothing: it says that this process answers, and is asked many times a second in a roll.
@blueprint.get("/healthz")
def healthz():
    return "ok", {"Content-Type": "text/plain"}


def not_found(_error):
    return render_template("not_found.html"), 404
