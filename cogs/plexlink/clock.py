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
        self._host = now
        self._monotonic = monotonic
        self._is_told = False
        self._doubted: tuple[datetime, float] | None = None
        self._set(now())

    def monotonic(self) -> float:
        """Return seconds that only ever grow; for durations."""
        return self._monotonic()

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC; for what is stored and shown."""
        return self._anchor_at + timedelta(seconds=self._monotonic() - self._anchor)

    def observe(self, stamped_at: datetime) -> None:
        """Learn the time from an event that Discord stamped just now.

        The first one counts as it is. After that, a stamp that is far from our time may be old news or wrong: it counts
        when the host's clock says the same, as it is or by how it has gone on (our monotonic one stands still while the
        machine sleeps), or when a later stamp does.
        """
        if not self._is_told or self._is_credible(stamped_at):
            self._is_told = True
            self._learn(stamped_at)

    def suppose(self, instant: datetime) -> None:
        """Take this for the present instant, better than the host's clock, as long as Discord has stamped nothing."""
        if not self._is_told:
            self._learn(instant)

    def _learn(self, stamped_at: datetime) -> None:
        behind = stamped_at - self.now()
        if behind > timedelta(0) or -behind > _DELIVERY:
            self._set(stamped_at.astimezone(UTC))

    def _set(self, instant: datetime) -> None:
        self._anchor_at = instant
        self._anchor = self._monotonic()
        self._host_at_anchor = self._host()

    def _is_credible(self, stamped_at: datetime) -> bool:
        doubted, self._doubted = self._doubted, None
        host = self._host()
        others = (self.now(), host, self._anchor_at + (host - self._host_at_anchor))
        if any(_agree(stamped_at, other) for other in others):
            return True
        here = self._monotonic()
        if doubted is None or not _agree(stamped_at, doubted[0] + timedelta(seconds=here - doubted[1])):
            self._doubted = stamped_at, here
            return False
        # What Discord held back comes all at once, and agrees with itself.
        is_apart = here - doubted[1] > _DELIVERY.total_seconds()
        self._doubted = None if is_apart else doubted
        return is_apart


def _agree(one: datetime, other: datetime) -> bool:
    return abs(one - other) <= _DELIVERY
