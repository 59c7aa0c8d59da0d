"""What people and programs read: the list of payments, health, version."""

from flask import Blueprint, render_template

from . import payments
from .version import VERSION

blueprint = Blueprint("pages", __name__)

SHOWN = 100


@blueprint.get("/")
def home():
    return render_template("payments.html", payments=payments.latest(SHOWN), total=payments.count())


@blueprint.get("/payments.json")
def payments_json():
    return {"payments": payments.latest(SHOWN), "total": payments.count()}


@blueprint.get("/version")
def version():
    return VERSION


# Touches nothing: it says that this process answers, and is asked many times a second in a roll.
@blueprint.get("/healthz")
def healthz():
    return "ok", {"Content-Type": "text/plain"}
