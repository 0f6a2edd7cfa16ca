"""Whose request goes next: what a job is for, and the share of the requests that each purpose is sure of.

plex.tv grants about one request a second, and nobody may eat it alone. Each purpose has a weight. While it has work it
gets at least its part of the whole, and what others do not need goes to those who do: stride scheduling (Waldspurger
and Weihl, 1995). A purpose that had nothing to do for a while comes at once when it has, but saves nothing up.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import IntEnum
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Purpose(IntEnum):
    """What a job is for; all but `FREE` cost a request to plex.tv. Of those whose turn it is the first one comes first.

    `PRESSED` is for who presses and may press again: *I've approved it*, *Check now*, which Plex servers are theirs.
    """

    FREE = 0
    PRESSED = 1
    ACCOUNT = 2
    CREATE = 3
    POLL = 4
    BACKGROUND = 5


WEIGHTS: Mapping[Purpose, float] = {
    Purpose.PRESSED: 2.0,
    Purpose.ACCOUNT: 8.0,
    Purpose.CREATE: 8.0,
    Purpose.POLL: 2.0,
    Purpose.BACKGROUND: 0.5,
}
"""What a member waits for weighs most; the background gets a fifth beside questions, a fortieth beside all."""

_PRESSES_APART_SECONDS = 3.0
_LONGEST_APART_SECONDS = 12.0
_PRESSES_FORGOTTEN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Presses:
    """How often a member has pressed in vain of late: each press is heard later than the one before, up to 12 s."""

    heard_at: float = -inf
    apart_seconds: float = 0.0

    @property
    def next_at(self) -> float:
        """Return from when on the next one is heard."""
        return self.heard_at + self.apart_seconds

    def after(self, now: float) -> Presses:
        """Return what is so after one that was heard now."""
        is_new = now - self.heard_at > _PRESSES_FORGOTTEN_SECONDS
        return Presses(now, _PRESSES_APART_SECONDS if is_new else min(_LONGEST_APART_SECONDS, 2 * self.apart_seconds))


class Shares:
    """Say whose turn it is, and remember who has had one."""

    def __init__(self) -> None:
        self._turn = 0.0
        self._next: dict[Purpose, float] = {}
        self._was_press = False

    def first(self, waiting: Collection[Purpose]) -> Purpose:
        """Return the purpose whose turn it is among those that have work.

        Presses never go twice in a row while anything else waits: together they get half at most.
        """
        others = [purpose for purpose in waiting if purpose is not Purpose.PRESSED]
        return min(others if self._was_press and others else waiting, key=lambda purpose: (self._due(purpose), purpose))

    def took(self, purpose: Purpose) -> None:
        """Account for a request."""
        self._turn = self._due(purpose)
        self._next[purpose] = self._turn + 1.0 / WEIGHTS[purpose]
        self._was_press = purpose is Purpose.PRESSED

    def requests_before(self, purpose: Purpose, ahead: Mapping[Purpose, int]) -> int:
        """Return how many requests go before one that waits; `ahead` counts the others, of its purpose those before."""
        shares, left, count = self._copy(), Counter(ahead), 0
        while True:
            turn = shares.first({purpose} | {other for other, number in left.items() if number > 0})
            if turn is purpose and left[purpose] <= 0:
                return count
            shares.took(turn)
            left[turn] -= 1
            count += 1

    def _due(self, purpose: Purpose) -> float:
        return max(self._turn, self._next.get(purpose, 0.0))

    def _copy(self) -> Shares:
        copy = Shares()
        copy._turn, copy._next, copy._was_press = self._turn, dict(self._next), self._was_press
        return copy
