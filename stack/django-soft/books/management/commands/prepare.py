"""What must be done once before new instances start; run by the one-shot service."""

import os

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Apply migrations; create the user `admin` if DJANGO_SUPERUSER_PASSWORD is set."

    def handle(self, *args, **options):
        call_command("migrate", interactive=False)
        password = os.environ.get("DJANGO_SUPERUSER_PASSWORD")
        users = get_user_model().objects
        # Never changes the password of a user that is there: people change it in the admin site.
        if password and not users.filter(username="admin").exists():
            users.create_superuser("admin", password=password)
            self.stdout.write("created the user admin")
