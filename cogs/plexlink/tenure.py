"""Which of several processes works: the one that holds the tenure, for as long as it renews it.

A lease by the database's clock decides who may begin; an epoch that grows with each holder decides whose commits count.
A holder that cannot renew stops by its own clock, which runs while a machine sleeps, before others may begin. All of it
is values and functions: `store/line.py` is what asks a database, `keeper.py` what begins and ends the work.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

LEASE_SECONDS = 12.0
RENEWED_EVERY_SECONDS = 4.0
"""Fifteen statements a minute, of a holder as of those who stand by."""

MARGIN_SECONDS = 1.0
"""A holder begins nothing more for so long before others may; what is under way then commits nothing: see `Fence`."""

SEEN_WITHIN_SECONDS = 15.0
"""Who has not been seen for longer is not there any more."""


def now() -> float:
    """Return the seconds of a clock that runs while the machine or the process sleeps, where the system has one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class Fence(NamedTuple):
    """Whose tenure it is and which one: a database that lost its last second may give the same epoch twice."""

    holder: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Tenure:
    """That this process works: which epoch it is, and since when, by `now`, it was surely renewed."""

    epoch: int
    renewed_at: float

    def is_good(self, at: float) -> bool:
        """Tell whether nobody else may have begun to work."""
        return at < self.renewed_at + LEASE_SECONDS - MARGIN_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What the database said to a process that told it that it is there.

    `is_renewed` tells that the process still holds the tenure, `is_vacant` that nobody does, `was_away` that the others
    had forgotten it, or have never seen it.
    """

    is_renewed: bool
    is_vacant: bool
    was_away: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that is there: where, which shards it runs, and whether it is the one that works."""

    id: str
    host: str
    shards: str
    version: str
    up_seconds: float
    works: bool


class Step(Enum):
    """What a process does next about the tenure."""

    WORK_ON = auto()
    STAND_BY = auto()
    CLAIM = auto()
    STOP = auto()


def next_step(held: Tenure | None, beat: Beat | None, at: float) -> Step:
    """Return what to do after a beat, or after none because the database was silent."""
    if held is not None:
        is_lost = beat is not None and not beat.is_renewed
        return Step.STOP if is_lost or not held.is_good(at) else Step.WORK_ON
    return Step.CLAIM if beat is not None and beat.is_vacant else Step.STAND_BY
