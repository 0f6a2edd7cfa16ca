"""The audit of a server is told in the channel that its owners have chosen: in order, each line once.

The table is the outbox. How far a message goes is committed before it is sent, and that it was told afterwards; so what
a crash leaves in between is sent again as it was, with the same nonce, and Discord, which remembers that for some
minutes, makes no second message of it.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from ..audit import AuditLine
from ..errors import NotifyError
from .agenda import Key, Kind
from .shares import Purpose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..audit import AuditEntry
    from ..change import Change
    from ..clock import Clock
    from ..community import Server
    from ..ledger import Ledger
    from .agenda import Agenda

_log = logging.getLogger(__name__)

TRIED_AGAIN = timedelta(days=1)
"""After so long it is looked whether a channel that Discord did not let us write into is open again."""

_GATHER_SECONDS = 3.0
"""What happens at about the same time is told in one message."""

_APART_SECONDS = 5.0
_FURTHEST_APART_SECONDS = 300.0
"""Between two messages in a channel, twice as long each time while there is no end of news."""

_LINES = 20
_MOST_LINES = 40
"""When more are waiting, those of the same deed are summed up."""

_MOST_SUMMED = 1000
_LONGEST_RETRY_SECONDS = 600.0


class AuditChannel(Protocol):
    """The way to the channels; handed in, so that nothing here knows Discord."""

    async def tell(self, *, guild_id: int, channel_id: int, lines: Sequence[AuditLine], nonce: str) -> bool:
        """Post lines as one message; tell whether Discord lets us write there at all.

        Raises:
            NotifyError: Discord does not say; try again.

        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """What goes into a channel next, up to the entry `to`."""

    channel_id: int
    entries: list[AuditEntry]
    to: int

    @property
    def lines(self) -> list[AuditLine]:
        return _summed_up(self.entries) if len(self.entries) > _LINES else [AuditLine(each) for each in self.entries]


@dataclass(frozen=True, slots=True)
class _Turn:
    """When the next message may go into a channel, and how long that was to wait."""

    at: float
    seconds: float


class Audits:
    """Tell the owners of servers what happens there."""

    def __init__(self, *, ledger: Ledger, agenda: Agenda, channel: AuditChannel, clock: Clock) -> None:
        self._ledger = ledger
        self._agenda = agenda
        self._channel = channel
        self._clock = clock
        self._turns: dict[int, _Turn] = {}

    def hear(self, guild_id: int) -> None:
        """Plan to tell what a server's audit has by then."""
        self._agenda.put_sooner(_key(guild_id), Purpose.FREE, _GATHER_SECONDS)

    async def find(self, change: Change) -> None:
        """Plan to tell everything that was not told."""
        for guild_id in await change.tx.servers.with_news(self._clock.now() - TRIED_AGAIN):
            if not self._agenda.is_planned(_key(guild_id)):
                self._agenda.put(_key(guild_id), Purpose.FREE)

    async def tell(self, guild_id: int) -> None:
        """Post one message, and plan the next."""
        key = _key(guild_id)
        async with self._ledger.change() as change:
            server = await self._open(change, guild_id)
            wait = 0.0 if server is None else self._wait_seconds(server)
            message = None if server is None or wait else await _next(change, server)
        if wait:
            self._agenda.put(key, Purpose.FREE, wait)
            return
        if message is None:
            self._agenda.succeeded(key)
            return
        self._take_turn(message)
        try:
            is_open = await self._channel.tell(
                guild_id=guild_id,
                channel_id=message.channel_id,
                lines=message.lines,
                nonce=f"{guild_id % 10**8}-{message.entries[0].id}",
            )
        except NotifyError as error:
            delay = self._agenda.retry(
                key, Purpose.FREE, first_seconds=_APART_SECONDS, longest_seconds=_LONGEST_RETRY_SECONDS
            )
            _log.warning("audit.failed server=%d, trying again in %.0f s: %s", guild_id, delay, error)
            return
        async with self._ledger.change() as change:
            await _told(change, guild_id, message, is_open=is_open)
        self._agenda.succeeded(key)
        self._agenda.put_sooner(key, Purpose.FREE, _APART_SECONDS)

    async def _open(self, change: Change, guild_id: int) -> Server | None:
        """Return a server if its audit can be told, as far as is known."""
        server = await change.tx.servers.get(guild_id)
        if server is None or server.left_at is not None or server.setup.audit_channel_id is None:
            return None
        is_closed = server.closed_at is not None and server.closed_at > self._clock.now() - TRIED_AGAIN
        return None if is_closed else server

    def _wait_seconds(self, server: Server) -> float:
        turn = self._turns.get(server.setup.audit_channel_id or 0)
        return 0.0 if turn is None else max(0.0, turn.at - self._clock.monotonic())

    def _take_turn(self, message: _Message) -> None:
        now, last = self._clock.monotonic(), self._turns.get(message.channel_id)
        is_steady = last is not None and now <= last.at + last.seconds
        seconds = min(_FURTHEST_APART_SECONDS, 2 * last.seconds) if last is not None and is_steady else _APART_SECONDS
        self._turns[message.channel_id] = _Turn(now + seconds, seconds)


async def _next(change: Change, server: Server) -> _Message | None:
    """Return the message that is under way already, or else the next one, and keep how far that goes."""
    entries: list[AuditEntry] = []
    if server.telling_to > server.audited_to:
        entries = await change.tx.audit.told_to(
            server.id, after=server.audited_to, up_to=server.telling_to, most=_MOST_SUMMED
        )
    to = server.telling_to
    if not entries:  # or all of them were deleted meanwhile
        entries = await change.tx.audit.told_to(server.id, after=server.audited_to, most=_MOST_SUMMED)
        if not entries:
            return None
        entries = entries if len(entries) > _MOST_LINES else entries[:_LINES]
        to = entries[-1].id or 0
        await change.tx.servers.keep(replace(server, telling_to=to))
    return _Message(channel_id=server.setup.audit_channel_id or 0, entries=entries, to=to)


async def _told(change: Change, guild_id: int, message: _Message, *, is_open: bool) -> None:
    """Keep what came of a message, unless another channel was chosen meanwhile."""
    server = await change.tx.servers.get(guild_id)
    if server is None or server.setup.audit_channel_id != message.channel_id or server.telling_to != message.to:
        return
    if is_open:
        await change.tx.servers.keep(replace(server, audited_to=message.to, closed_at=None))
    else:
        _log.warning("audit.refused server=%d channel=%d", guild_id, message.channel_id)
        await change.close_channel(server)


def _summed_up(entries: Sequence[AuditEntry]) -> list[AuditLine]:
    """Return a line a deed, in the order in which they came first."""
    times = Counter(entry.deed for entry in entries)
    first: dict[str, AuditEntry] = {}
    for entry in entries:
        first.setdefault(entry.deed, entry)
    return [AuditLine(entry, times[entry.deed]) for entry in first.values()]


def _key(guild_id: int) -> Key:
    return Key(Kind.AUDIT, str(guild_id))
