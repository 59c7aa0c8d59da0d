"""flask-soft: receives Stripe's payment events, keeps each one once, lists them."""

import os

from flask import Flask

from . import pages, payments, version, webhook

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)


def create_app():
    app = Flask(__name__)
    app.config["DATABASE"] = os.environ.get("DATABASE", "/data/payments.sqlite3")
    app.config["STRIPE_WEBHOOK_SECRET"] = os.environ.get("STRIPE_WEBHOOK_SECRET", "")
    # Stripe's events are a few kilobytes; a larger body is refused before it is read.
    app.config["MAX_CONTENT_LENGTH"] = 1024 * 1024

    payments.create_schema(app.config["DATABASE"])
    app.teardown_appcontext(payments.close)
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(webhook.blueprint)
    app.context_processor(lambda: {"version": version.VERSION})
    app.add_template_filter(payments.format_amount, "amount")

    @app.after_request
    def protect(response):
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return app
