"""How often plex.tv may be asked: a pure pace, clocks handed in."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_SLOWEST = 1 / 60
_PAUSE_SECONDS = 5.0
_LEAST_PAUSE_SECONDS = 1.0
_LONGEST_RECALLED_SECONDS = 3600.0
_PAUSED_UNTIL, _RATE = "plex_paused_until", "plex_rate"
_RECOVERY = 1 / 20
"""Share of the full rate that each good answer gives back: about a minute of quiet at one request a second."""


class Pace:
    """Space requests evenly; halve the rate on 429 and win it back slowly.

    plex.tv publishes no limits; about two requests a second from one address brought minutes of 429
    (Ombi issue 5233), and no log shows a `Retry-After`, which is honoured all the same.
    """

    def __init__(self, rate: float) -> None:
        self._full_rate = rate
        self._rate = rate
        self._ready_at = 0.0
        self._paused_until = 0.0
        self._halved_from = -inf

    @property
    def rate(self) -> float:
        """Requests a second at present."""
        return self._rate

    def ready_at(self, *, in_a_pause: bool = False) -> float:
        """Return the monotonic time from which the next request may go, or one that cannot wait for a pause's end."""
        return self._ready_at if in_a_pause else max(self._ready_at, self._paused_until)

    def paused_until(self) -> float:
        """Return the monotonic time until which plex.tv wants to be left alone."""
        return self._paused_until

    def numbers(self, now: float, wall: float) -> dict[str, float]:
        """Return the pause that plex.tv wants, by name, to be kept; `now` is monotonic, `wall` seconds since 1970."""
        return {_PAUSED_UNTIL: wall + max(0.0, self._paused_until - now), _RATE: self._rate}

    def recall(self, numbers: Mapping[str, float], now: float, wall: float) -> None:
        """Keep to a pause that an earlier process was told of, and to the rate that was won back by then.

        What is over is forgotten, and so is one so long that a clock must have been wrong.
        """
        left = numbers.get(_PAUSED_UNTIL, 0.0) - wall
        if 0.0 < left <= _LONGEST_RECALLED_SECONDS:
            self._paused_until = max(self._paused_until, now + left)
            self._rate = min(self._rate, max(numbers.get(_RATE, self._full_rate), _SLOWEST))

    def take(self, now: float) -> None:
        """Account for a request that goes now."""
        self._ready_at = max(now, self._ready_at) + 1 / self._rate

    def slow_down(self, now: float, retry_after_seconds: float | None, *, asked_at: float) -> None:
        """Pause, and halve the rate, once for all requests that were under way together.

        plex.tv has judged the pace of the request that was sent at `asked_at`, a monotonic time like `now`. One that
        was sent before the rate was halved says nothing about the halved rate, nor does one that was sent in the pause
        that followed: its turn had come before.
        """
        pause = _PAUSE_SECONDS if retry_after_seconds is None else max(_LEAST_PAUSE_SECONDS, retry_after_seconds)
        self._paused_until = max(self._paused_until, now + pause)
        if asked_at >= self._halved_from:
            self._halved_from = self._paused_until
            self._rate = max(self._rate / 2, min(_SLOWEST, self._full_rate))

    def recover(self) -> None:
        """Win back a little of the full rate after a good answer."""
        self._rate = min(self._full_rate, self._rate + self._full_rate * _RECOVERY)
