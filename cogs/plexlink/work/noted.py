"""The ways to Discord of a process that another one may overtake: what is done is noted, so that it can be undone.

A process may be frozen between looking and doing for so long that another one works meanwhile; see `tenure.py`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .. import cards, whereabouts
from ..community import ServerTouched
from ..models import AttemptCard, Notice
from .hand import note

if TYPE_CHECKING:
    from ..change import Change
    from ..community import Kept, Objection
    from ..models import Answer, Place, Showing
    from .roles import RoleKeeper
    from .showing import Notifier


class NotedNotifier:
    """A way to members; see `showing.Notifier`."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    async def show(self, showing: Showing) -> Place | None:
        """Bring something to its member; what has failed may have arrived as well."""
        place = None
        try:
            place = await self._notifier.show(showing)
        finally:
            note(partial(_undo_showing, showing=showing, place=place or showing.place))
        return place

    async def take_away(self, user_id: int, attempt_id: str) -> None:
        """Delete a direct message; that is one too many, whoever works."""
        await self._notifier.take_away(user_id, attempt_id)

    def hear(self, pressed: Answer) -> None:
        """Remember a press on a direct message."""
        self._notifier.hear(pressed)

    async def find_owner(self, guild_id: int, *, rather: int) -> int:
        """Return which owner of a server is told; asking changes nothing."""
        return await self._notifier.find_owner(guild_id, rather=rather)


class NotedRoles:
    """Who sees to roles; see `roles.RoleKeeper`."""

    def __init__(self, keeper: RoleKeeper) -> None:
        self._keeper = keeper

    async def see_to(self, *, guild_id: int, user_id: int, role_id: int | None, has: bool) -> Kept | Objection:
        """See to a role; what has failed may have come through as well."""
        try:
            return await self._keeper.see_to(guild_id=guild_id, user_id=user_id, role_id=role_id, has=has)
        finally:
            note(partial(_look_again, guild_id=guild_id, user_id=user_id))


async def _undo_showing(change: Change, *, showing: Showing, place: Place) -> None:
    """Let that be true again over which something was shown."""
    if isinstance(showing.content, AttemptCard):
        await whereabouts.undo_drawing(change, showing.content.attempt, place)
        return
    if isinstance(showing.content, Notice):
        notice = await change.tx.notices.get(showing.content.id)
        if notice is not None:
            await change.tell_again(notice)
    await whereabouts.outdate(change, cards.message_at(place, showing.answer), through=showing.answer)


async def _look_again(change: Change, *, guild_id: int, user_id: int) -> None:
    """Let a member be looked at again whose role was given or taken."""
    await change.tx.memberships.doubt_settled(guild_id, user_id)
    change.tell(ServerTouched(guild_id))
