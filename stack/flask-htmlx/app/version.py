"""What is running: the revision it was rolled with, and a line of text from the source."""

import os
from pathlib import Path

VERSION = {
    "service": "flask-htmlx",
    "revision": os.environ.get("AGENT_REVISION") or "dev",
    "text": Path(__file__).with_name("version.txt").read_text(encoding="utf-8").strip(),
}
