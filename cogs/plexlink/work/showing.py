"""What the work needs in order to show something: a way to the member, and a message to itself meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

from .. import cards

if TYPE_CHECKING:
    from ..models import Answer, Place, Showing


class Notifier(Protocol):
    """The way to members; handed in, so that nothing here knows Discord."""

    async def show(self, showing: Showing) -> Place | None:
        """Bring something to its member and return where it is now, or nothing where no way led there.

        Raises:
            NotifyError: it did not arrive; try again.

        """
        ...

    async def take_away(self, user_id: int, attempt_id: str) -> None:
        """Delete a direct message that came after all, when the card of its attempt was in an answer already.

        Raises:
            NotifyError: it may still be there; try again.

        """
        ...

    def hear(self, pressed: Answer) -> None:
        """Remember a press on a direct message, through which it can be drawn for a while."""
        ...

    async def find_owner(self, guild_id: int, *, rather: int) -> int:
        """Return which owner of a server is told: whoever is named while they may manage it, or whose it is.

        Raises:
            NotifyError: Discord does not say; try again.

        """
        ...


class Turns:
    """Whoever draws on a message does it alone: an edit may be on its way for long, and the next one comes after it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[int | str, asyncio.Lock] = WeakValueDictionary()

    def at(self, place: Place, answer: Answer | None, *, otherwise: str) -> asyncio.Lock:
        """Return the lock of the message that is drawn on; before there is one, nobody shares it.

        It lasts for as long as somebody holds it.
        """
        what = cards.message_at(place, answer) or otherwise
        return self._locks.setdefault(what, asyncio.Lock())
