"""For members of which Plex server a server's role is: its owners choose among those that their own link proves theirs.

plex.tv is asked through the work. What it says stays in memory for a minute, for the one who asked; of the chosen
Plex server, identifier and name are kept, sealed. Whether somebody may choose is for whoever asks Discord.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import entitlements
from .audit import Deed
from .community import Server, ServerTouched
from .events import PlexServersTold, PlexServersWanted
from .models import PlexServer
from .secret import Secret

if TYPE_CHECKING:
    from datetime import timedelta

    from .bell import Bell, Happened
    from .change import Change
    from .clock import Clock
    from .ledger import Ledger
    from .models import Link

PATIENCE_SECONDS = 8.0
"""How long an owner who presses waits for plex.tv."""

_REMEMBERED_SECONDS = 60.0
MOST_CHOICES = 25
"""Discord's limit for a select."""

EVERYBODY = "0"
"""In place of a Plex server's handle: the role is for everybody who has linked."""

UNREADABLE = "x"
"""In place of the handle of a Plex server that cannot be read."""

_MEMBERS_ONLY = "members_only"


@dataclass(frozen=True, slots=True)
class NoLink:
    """Whoever wants to choose has no link that works."""


@dataclass(frozen=True, slots=True)
class PlexSilent:
    """plex.tv did not say in time which servers are theirs."""


@dataclass(frozen=True, slots=True)
class NotTheirs:
    """What was picked is no Plex server of theirs."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A Plex server that is somebody's own; `handle` stands for it on their card."""

    handle: str
    name: Secret


@dataclass(frozen=True, slots=True)
class Choices:
    """The Plex servers among which an owner may choose."""

    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class RuleChange:
    """What an owner's card would do: let a role be for others than those for whom it was when the card was drawn.

    Each is the handle of a Plex server, or what stands in its place.
    """

    to: str
    instead_of: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """It was done, or is so already; `undo` brings back what was chosen before, if one can go back to that."""

    is_new: bool = True
    undo: RuleChange | None = None


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Nothing was done: something else was chosen since the card was drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """For whom a server's role is: `plex_server` names whose members, and is empty where that cannot be read.

    `held` losses wait for somebody to believe them.
    """

    plex_server: Secret | None = None
    held: int = 0


class Ownership:
    """Show, prove and choose for members of which Plex server a server's role is."""

    def __init__(self, *, ledger: Ledger, bell: Bell, clock: Clock, grace: timedelta) -> None:
        self._ledger = ledger
        self._bell = bell
        self._clock = clock
        self._grace = grace
        self._told: dict[str, tuple[float, tuple[PlexServer, ...]]] = {}

    async def rule(self, guild_id: int) -> Rule:
        """Return for whom a server's role is."""
        async with self._ledger.change() as change:
            server = await change.tx.servers.get(guild_id)
            if server is None or not server.is_for_plex_members:
                return Rule()
            chosen = await change.tx.servers.plex_server(guild_id)
            name = Secret("") if chosen is None else chosen.name
            return Rule(plex_server=name, held=await change.tx.access.held(guild_id))

    async def choices(self, guild_id: int, user_id: int) -> Choices | NoLink | PlexSilent:
        """Return the Plex servers that somebody owns, as plex.tv says now."""
        link = await self._link(user_id)
        if link is None:
            return NoLink()
        owned = await self._owned(link)
        if owned is None:
            return PlexSilent()
        async with self._ledger.change() as change:
            handles = [change.tx.servers.handle_of(each.id, guild_id, user_id) for each in owned[:MOST_CHOICES]]
        return Choices(tuple(Choice(handle, each.name) for handle, each in zip(handles, owned, strict=False)))

    async def offered(self, guild_id: int, user_id: int, handle: str) -> Choice | NoLink | NotTheirs | PlexSilent:
        """Return the Plex server for which a handle stands, if it is somebody's own; nothing is chosen by that."""
        picked = await self._pick(guild_id, user_id, handle)
        return Choice(handle, picked.name) if isinstance(picked, PlexServer) else picked

    async def handle(self, guild_id: int, user_id: int) -> str:
        """Return what stands for whom a server's role is for, on the card of somebody."""
        async with self._ledger.change() as change:
            return await _handle_of_rule(change, await change.tx.servers.get(guild_id), user_id)

    async def choose(
        self, guild_id: int, user_id: int, wanted: RuleChange
    ) -> Chosen | Overtaken | NoLink | NotTheirs | PlexSilent:
        """Let a server's role be for members of a Plex server only, if it is the chooser's own, or for everybody."""
        picked = None if wanted.to == EVERYBODY else await self._pick(guild_id, user_id, wanted.to)
        if picked is None or isinstance(picked, PlexServer):
            return await self._keep(guild_id, picked, wanted, actor_id=user_id)
        return picked

    async def _pick(self, guild_id: int, user_id: int, handle: str) -> PlexServer | NoLink | NotTheirs | PlexSilent:
        """Return the Plex server of somebody's own for which a handle stands, with the account that owns it."""
        link = await self._link(user_id)
        if link is None:
            return NoLink()
        owned = self._remembered(link) or await self._owned(link)
        if owned is None:
            return PlexSilent()
        async with self._ledger.change() as change:
            handles = {change.tx.servers.handle_of(each.id, guild_id, user_id): each for each in owned}
        if handle not in handles:
            return NotTheirs()
        return replace(handles[handle], owner_id=link.account_id)

    async def _keep(
        self, guild_id: int, chosen: PlexServer | None, wanted: RuleChange, *, actor_id: int
    ) -> Chosen | Overtaken:
        now = self._clock.now()
        async with self._ledger.change() as change:
            tx = change.tx
            before = await tx.servers.get(guild_id) or Server(id=guild_id)
            former = await _handle_of_rule(change, before, actor_id)
            if former not in {wanted.instead_of, wanted.to}:
                return Overtaken()
            await tx.servers.keep(replace(before, chosen_by=actor_id))
            if not await tx.servers.choose_plex_server(guild_id, chosen):
                return Chosen(is_new=False)
            await tx.access.forget_server(guild_id)
            await change.settle_losses(guild_id)
            detail = None if chosen is None else _MEMBERS_ONLY
            await change.note_for(guild_id, Deed.PLEX_SERVER_CHOSEN, actor_id, detail=detail)
            server = await tx.servers.get(guild_id)
            if server is not None:
                entitled = await tx.memberships.entitled(rejected_after=now - self._grace)
                await entitlements.entitle_all(tx, server, entitled, now)
            await tx.memberships.doubt(guild_id, owed_before=now)  # whoever is seen again is asked about
            change.tell(ServerTouched(guild_id))
            return Chosen(undo=None if former == UNREADABLE else RuleChange(to=former, instead_of=wanted.to))

    async def _link(self, user_id: int) -> Link | None:
        async with self._ledger.change() as change:
            link = await change.tx.links.of(user_id)
        return None if link is None or link.is_dead or link.trouble is not None else link

    def _remembered(self, link: Link) -> tuple[PlexServer, ...] | None:
        """Return what plex.tv said within a minute; what is older is forgotten."""
        fresh_after = self._clock.monotonic() - _REMEMBERED_SECONDS
        self._told = {key: told for key, told in self._told.items() if told[0] > fresh_after}
        told = self._told.get(link.id)
        return None if told is None else told[1]

    async def _owned(self, link: Link) -> tuple[PlexServer, ...] | None:
        """Ask plex.tv now; return the Plex servers that are the link's own, or nothing if that takes long."""
        answered: asyncio.Future[tuple[PlexServer, ...] | None] = asyncio.get_running_loop().create_future()

        def hear(happened: Happened) -> None:
            if isinstance(happened, PlexServersTold) and happened.link_id == link.id and not answered.done():
                answered.set_result(happened.servers)

        stop = self._bell.listen(hear)
        try:
            self._bell.ring(PlexServersWanted(link.id))
            await asyncio.wait({answered}, timeout=PATIENCE_SECONDS)
        finally:
            stop()
        servers = answered.result() if answered.done() else None
        if servers is None:
            return None
        owned = tuple({each.id: each for each in servers if each.is_owned}.values())
        self._remembered(link)
        self._told[link.id] = self._clock.monotonic(), owned
        return owned


async def _handle_of_rule(change: Change, server: Server | None, user_id: int) -> str:
    if server is None or not server.is_for_plex_members:
        return EVERYBODY
    chosen = await change.tx.servers.plex_server(server.id)
    return UNREADABLE if chosen is None else change.tx.servers.handle_of(chosen.id, server.id, user_id)
