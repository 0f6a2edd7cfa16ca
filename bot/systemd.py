"""What systemd wants to hear of a service of `Type=notify`: when it is ready, that it lives, and that it stops.

The protocol is a datagram to the socket that `NOTIFY_SOCKET` names (sd_notify(3)); elsewhere there is none, and
nothing is told.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from .web import Watched

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_BEATS_A_TIMEOUT = 3
_MICROSECONDS = 1_000_000


@asynccontextmanager
async def told(bot: Watched, environment: Mapping[str, str]) -> AsyncIterator[None]:
    """Tell systemd of the bot for as long as the context lasts."""
    path = environment.get("NOTIFY_SOCKET", "")
    if not path:
        yield
        return
    telling = asyncio.create_task(_tell(bot, path, _beat_seconds(environment)), name="plexlink-systemd")
    try:
        yield
    finally:
        _send(path, "STOPPING=1")
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling


async def _tell(bot: Watched, path: str, beat_seconds: float | None) -> None:
    """Say once that commands are answered; from then on that the work goes on, unless it does not."""
    while not bot.is_connected:  # noqa: ASYNC110 - before the login, discord.py has nothing to wait for
        await asyncio.sleep(_LOOK_SECONDS)
    _send(path, "READY=1")
    while beat_seconds is not None:
        vitals = bot.vitals
        if vitals is None or not vitals.is_stuck():
            _send(path, "WATCHDOG=1")
        await asyncio.sleep(beat_seconds)


def _beat_seconds(environment: Mapping[str, str]) -> float | None:
    """Return how often systemd wants to hear of us; another process may be the one that is meant."""
    timeout, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not timeout.isdecimal() or pid not in {"", str(os.getpid())}:
        return None
    return int(timeout) / _MICROSECONDS / _BEATS_A_TIMEOUT


def _send(path: str, message: str) -> None:
    address = f"\0{path[1:]}" if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messenger:
            messenger.sendto(message.encode(), address)
    except OSError as error:
        _log.debug("systemd.not_told: %s", error.strerror)
