"""The plugin without Discord: all of it, with the database and plex.tv's stand-in, but cards that nobody sees."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from discord.utils import utcnow

from plexlink import wiring
from plexlink.clock import Clock
from plexlink.models import Answer, Lane, Origin, Place, Wish
from plexlink.secret import Secret
from plexlink.settings import PlexLinkSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from plexlink.models import Showing
    from plexlink.surface.cog import Desk
    from plexlink.work.worker import Worker


class NoBot:
    """A host's bot that is not at Discord."""

    shard_id = None


class NoNotifier:
    """Take every card as sent, by direct message."""

    def __init__(self, **_: Any) -> None:
        pass

    async def show(self, showing: Showing) -> Place:
        return Place(lane=Lane.DM, channel_id=showing.user_id, message_id=showing.user_id)


@asynccontextmanager
async def plugin(
    folder: Path, plex_url: str, *, rate: float, now: Callable[[], datetime] = utcnow
) -> AsyncIterator[Desk]:
    """Open the plugin as its cog does, with a database in `folder`."""
    settings = PlexLinkSettings(
        data_dir=folder, plex_url=plex_url, plex_rate=rate, max_pending=100_000, plex_product="PlexLink"
    )
    with _apart_from_discord(now):
        async with wiring.running(NoBot(), settings) as desk:  # type: ignore[arg-type]
            desk.resume()
            yield desk


@contextmanager
def _apart_from_discord(now: Callable[[], datetime]) -> Iterator[None]:
    """Let the plugin have its own clock and nobody to show cards to; what runs in this process afterwards has both."""
    log, wired = logging.getLogger("plexlink"), vars(wiring)
    level, before = log.level, dict(wired)
    log.setLevel(logging.ERROR)
    wired.update(
        DiscordNotifier=NoNotifier,
        _publisher=lambda _: lambda _: None,
        Clock=lambda *, monotonic, **_: Clock(now=now, monotonic=monotonic),
    )
    try:
        yield
    finally:
        wired.update(before)
        log.setLevel(level)


def worker_of(desk: Desk) -> Worker:
    """Return what does the work that the desk is not to know of."""
    worker: Worker = desk.resume.__self__  # type: ignore[attr-defined]
    return worker


async def start(desk: Desk, member: int) -> None:
    """Let a member ask for a code, in a direct message."""
    wish = Wish(
        user_id=member,
        guild_id=None,
        device_name=f"Discord: {member}",
        origin=Origin.CARD,
        answer=Answer(message_id=member, token=Secret("interaction"), at=utcnow()),
    )
    await desk.linking.start(wish)
