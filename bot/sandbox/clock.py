"""The sandbox's time: the machine's, and beyond it what was let pass."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

_TURN_SECONDS = 0.02


class Clock:
    """Tell the time to the bot, to the simulated Discord and to the stand-in of plex.tv alike.

    `ahead_seconds`: what was let pass. `is_hurried`: whether time is being let pass, so that nobody need wait for it.
    """

    def __init__(self) -> None:
        self.ahead_seconds = 0.0
        self.is_hurried = False

    @property
    def elapsed(self) -> float:
        """Seconds that only ever grow."""
        return time.perf_counter() + self.ahead_seconds  # simcord replaces time.monotonic

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead_seconds)

    def advance(self, seconds: float) -> None:
        """Be ahead of the machine by so much more."""
        self.ahead_seconds += seconds

    async def sleep(self, seconds: float) -> None:
        """Wait until it is so much later; in a hurry, make it so much later, once for all who wait together."""
        until = self.elapsed + seconds
        await asyncio.sleep(_TURN_SECONDS if self.is_hurried else seconds)
        self.advance(max(0.0, until - self.elapsed))
