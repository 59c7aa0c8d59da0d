"""A visitor's to-do list, as it travels in the visitor's own cookie.

The server keeps nothing, so any instance can answer any request and a roll loses no one's list.
The cookie is not signed: it is worth nothing to anyone but the visitor, and whatever is in it is
read as untrusted text.
"""

import base64
import json
from dataclasses import asdict, dataclass

# A browser keeps cookies of 4096 bytes; a full list in the longest alphabet stays below that.
MAX_ITEMS = 10
MAX_TEXT = 60


@dataclass
class Item:
    id: int
    text: str
    done: bool = False


class TodoList:
    def __init__(self, items):
        self.items = items

    @classmethod
    def from_cookie(cls, cookie):
        """A cookie that is absent, damaged or made up is an empty list."""
        try:
            rows = json.loads(base64.urlsafe_b64decode(cookie or ""))
            items = [Item(int(r["id"]), clean(r["text"]), r["done"] is True) for r in rows]
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls([])
        return cls([item for item in items if item.text][:MAX_ITEMS])

    def to_cookie(self):
        rows = json.dumps([asdict(item) for item in self.items], ensure_ascii=False)
        return base64.urlsafe_b64encode(rows.encode()).decode()

    @property
    def full(self):
        return len(self.items) >= MAX_ITEMS

    @property
    def open_count(self):
        return sum(not item.done for item in self.items)

    def add(self, text):
        text = clean(text)
        if text and not self.full:
            self.items.append(Item(max((i.id for i in self.items), default=0) + 1, text))

    def toggle(self, item_id):
        for item in self.items:
            if item.id == item_id:
                item.done = not item.done

    def remove(self, item_id):
        self.items = [item for item in self.items if item.id != item_id]

    def matching(self, words):
        words = words.casefold().split()
        return [i for i in self.items if all(w in i.text.casefold() for w in words)]


def clean(text):
    return " ".join(text.split())[:MAX_TEXT]
