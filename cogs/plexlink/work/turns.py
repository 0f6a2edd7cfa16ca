"""Whoever draws on a message does it alone: an edit may be on its way for long, and the next one must come after it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from ..models import Answer, Place


class Turns:
    """One lock for each thing that is drawn, which lasts for as long as somebody holds it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str | int, asyncio.Lock] = WeakValueDictionary()

    def of(self, what: str | int) -> asyncio.Lock:
        """Return the lock of something by its id."""
        return self._locks.setdefault(what, asyncio.Lock())

    def at(self, place: Place, answer: Answer | None, *, otherwise: str) -> asyncio.Lock:
        """Return the lock of the message that is drawn on; before there is one, nobody shares it."""
        return self.of(place.message_id or (answer.message_id if answer else None) or f"{otherwise} without a message")
