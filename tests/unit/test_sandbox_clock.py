"""The sandbox's clock goes as the machine's does, unless somebody is in a hurry."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from plexlink_bot.sandbox.clock import Clock

HOUR = 3600.0


async def test_in_a_hurry_those_who_wait_together_wait_once() -> None:
    clock = Clock()
    before = clock.elapsed
    clock.is_hurried = True
    await asyncio.gather(*(clock.sleep(HOUR) for _ in range(3)))
    assert HOUR <= clock.elapsed - before < 2 * HOUR
    assert clock.now() - datetime.now(UTC) > timedelta(minutes=59)


async def test_otherwise_to_wait_puts_it_ahead_of_nothing() -> None:
    clock = Clock()
    await clock.sleep(0.01)
    assert clock.ahead_seconds < 0.01
