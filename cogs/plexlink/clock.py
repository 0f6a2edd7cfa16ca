"""The time as Discord sees it.

Countdowns on cards are drawn by the members' Discord clients, so an instant that we store must agree with
Discord's clock, not with the host's, which may be off by hours or be set while we run.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_DELIVERY = timedelta(seconds=5)
"""Longest plausible way of an event from Discord to us; an interaction is dead after three seconds anyway."""


class Clock:
    """Tell the time from one anchor and a monotonic clock."""

    def __init__(self, *, now: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._anchor_at = now()
        self._anchor = monotonic()
        self._is_told = False

    def monotonic(self) -> float:
        """Return seconds that only ever grow; for durations."""
        return self._monotonic()

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC; for what is stored and shown."""
        return self._anchor_at + timedelta(seconds=self._monotonic() - self._anchor)

    def observe(self, stamped_at: datetime) -> None:
        """Learn the time from an event that Discord stamped just now."""
        self._is_told = True
        self._learn(stamped_at)

    def suppose(self, instant: datetime) -> None:
        """Take this for the present instant, better than the host's clock, as long as Discord has stamped nothing."""
        if not self._is_told:
            self._learn(instant)

    def _learn(self, stamped_at: datetime) -> None:
        behind = stamped_at - self.now()
        if behind > timedelta(0) or -behind > _DELIVERY:
            self._anchor_at = stamped_at.astimezone(UTC)
            self._anchor = self._monotonic()
