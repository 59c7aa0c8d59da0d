"""flask-htmlx: a to-do list whose parts HTMX exchanges, and the page that links the four apps."""

from flask import Flask

from . import pages, todos
from .version import VERSION

PREFIX = "/flask-htmlx"

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)


def create_app():
    # nginx keeps the prefix, so everything a browser asks for lies under it.
    app = Flask(__name__, static_url_path=f"{PREFIX}/static")
    app.config["MAX_CONTENT_LENGTH"] = 64 * 1024
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(todos.blueprint, url_prefix=PREFIX)
    app.add_url_rule(f"{PREFIX}/version", view_func=pages.version)
    app.register_error_handler(404, pages.not_found)
    app.context_processor(lambda: {"version": VERSION})

    @app.after_request
    def protect(response):
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return app
