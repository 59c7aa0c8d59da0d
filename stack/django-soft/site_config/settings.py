"""Django's settings. Production only: there is no debug mode to forget."""

import os
from pathlib import Path

from . import secret_key

BASE = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("DATA", "/data"))
# nginx keeps the prefix, so every address of this app lies under it.
PREFIX = "django/"


def words(name, default=""):
    return os.environ.get(name, default).replace(",", " ").split()


DEBUG = False
SECRET_KEY = secret_key.load(DATA / "secret-key")
ALLOWED_HOSTS = words("DJANGO_ALLOWED_HOSTS", "*")
CSRF_TRUSTED_ORIGINS = words("DJANGO_TRUSTED_ORIGINS")

ROOT_URLCONF = "site_config.urls"
WSGI_APPLICATION = "site_config.wsgi.application"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "books",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "books.context.version",
            ]
        },
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "db.sqlite3",
        "OPTIONS": {
            # Two instances share the file during a roll. A transaction takes the write lock at
            # its start and waits for it; upgrading a read lock half-way would fail at once.
            "transaction_mode": "IMMEDIATE",
            "timeout": 5,
            "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Names of static files carry a hash of their content, so browsers may keep them for ever.
STATIC_URL = f"/{PREFIX}static/"
STATIC_ROOT = BASE / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# Cookies stay inside the prefix: the other apps have the same host name.
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = f"/{PREFIX}"
SESSION_COOKIE_NAME = "django_session"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}
