"""Django's signing key: from the environment, or made once and kept on the volume.

Every worker and both instances of a roll must hold the same key, or sign-ins and forms break
whenever a request meets another instance.
"""

import os
import secrets


def load(path):
    key = os.environ.get("DJANGO_SECRET_KEY")
    if key:
        return key
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(50), encoding="ascii")
        # A link appears whole or not at all, and never replaces a key that another process has
        # made in the meantime.
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        draft.unlink()
    return path.read_text(encoding="ascii")
