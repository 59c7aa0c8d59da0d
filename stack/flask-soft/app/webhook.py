"""Where Stripe's events arrive. Verified on the raw bytes, answered once the event is on disk.

Any other answer than 2xx makes the sender try again later, so nothing is lost by a refusal.
"""

import json

from flask import Blueprint, current_app, request
from stripe import SignatureVerificationError, WebhookSignature

from . import payments

blueprint = Blueprint("webhook", __name__)

TOLERANCE_SECONDS = 300


def refuse(status, error, hint):
    return {"error": error, "hint": hint}, status


@blueprint.post("/webhook")
def receive():
    secret = current_app.config["STRIPE_WEBHOOK_SECRET"]
    if not secret:
        return refuse(
            503,
            "this app has no webhook secret yet",
            "set STRIPE_WEBHOOK_SECRET to the endpoint's signing secret (whsec_…)",
        )
    try:
        payload = request.get_data().decode("utf-8")
        header = request.headers.get("Stripe-Signature", "")
        WebhookSignature.verify_header(payload, header, secret, TOLERANCE_SECONDS)
        event = json.loads(payload)
    except SignatureVerificationError as error:
        return refuse(400, str(error), "sign the raw body with this app's STRIPE_WEBHOOK_SECRET")
    except ValueError:
        return refuse(400, "the body is not JSON", "send the event exactly as Stripe made it")
    if not is_event(event):
        return refuse(400, "the body is not a Stripe event", "an event has a text `id` and `type`")
    return {"received": True, "duplicate": not payments.record(event)}


def is_event(event):
    return (
        isinstance(event, dict)
        and all(isinstance(event.get(key), str) for key in ("id", "type"))
        and isinstance(event.get("data", {}), dict)
        and isinstance(event.get("data", {}).get("object", {}), dict)
    )
