"""Which job is done next, and when: a heap of due times, one armed timer, one limiter.

A job is a key that becomes due in a lane. Jobs that ask plex.tv share the limiter and go by lane, the most
urgent first; jobs that only touch Discord or the database are free. Nothing runs while nothing is due, and no
task sleeps. One key runs at most once at a time.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .limiter import Limiter

_log = logging.getLogger(__name__)

_MOST_AT_ONCE = 8
_DRAIN_SECONDS = 6.0


class Urgency(IntEnum):
    """What a job is for, the most urgent first; all but `FREE` cost a request to plex.tv.

    `PRESSED` is for a member who pressed *I've approved it*, and for a code's last second.
    """

    FREE = 0
    PRESSED = 1
    ACCOUNT = 2
    CREATE = 3
    POLL = 4
    BACKGROUND = 5


class Kind(StrEnum):
    """What a job works on."""

    ATTEMPT = "attempt"
    CARD = "card"
    SIGN_OUT = "sign-out"
    LEFTOVER = "leftover"
    SWEEP = "sweep"


class Key(NamedTuple):
    """What makes a job the same job."""

    kind: Kind
    id: str


@dataclass(slots=True)
class _Entry:
    """One planned job; superseded entries stay in the heaps and are passed over."""

    key: Key
    urgency: Urgency
    due: float


class Poller:
    """Run jobs when they are due and plex.tv may be asked."""

    def __init__(self, *, limiter: Limiter) -> None:
        self.limiter = limiter
        self._planned: dict[Key, _Entry] = {}
        self._later: list[tuple[float, int, _Entry]] = []
        self._ready: list[tuple[int, float, int, _Entry]] = []
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._failures: dict[Key, int] = {}
        self._asking = 0
        self._sequence = 0
        self._timer: asyncio.TimerHandle | None = None
        self._work: Callable[[Key], Awaitable[None]] | None = None

    def start(self, work: Callable[[Key], Awaitable[None]]) -> None:
        """Begin to run jobs with `work`, which must not raise."""
        self._loop = asyncio.get_running_loop()
        self._work = work
        self._advance()

    async def stop(self) -> None:
        """Start nothing more, let running jobs finish, and cancel what is still running after 6 seconds."""
        self._work = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        running = list(self._running.values())
        if not running:
            return
        _, late = await asyncio.wait(running, timeout=_DRAIN_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def put(self, key: Key, urgency: Urgency, delay_seconds: float = 0.0) -> None:
        """Plan a job, replacing what was planned for the same key."""
        self._plan(_Entry(key, urgency, self._now() + max(0.0, delay_seconds)))

    def put_sooner(self, key: Key, urgency: Urgency, delay_seconds: float = 0.0) -> None:
        """Plan a job unless the same key is planned for an earlier time."""
        planned = self._planned.get(key)
        if planned is None or planned.due > self._now() + delay_seconds:
            self.put(key, urgency, delay_seconds)

    def retry(
        self,
        key: Key,
        urgency: Urgency,
        *,
        first_seconds: float = 3.0,
        longest_seconds: float = 30.0,
        not_before_seconds: float = 0.0,
    ) -> float:
        """Plan a job that failed again, later each time, counted from `not_before_seconds` on; return the delay."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = not_before_seconds + min(longest_seconds, first_seconds * 2.0 ** min(failures - 1, 16))
        self.put_sooner(key, urgency, delay)
        return delay

    def failures(self, key: Key) -> int:
        """Return how often a job failed in a row."""
        return self._failures.get(key, 0)

    def succeeded(self, key: Key) -> None:
        """Forget a job's failures."""
        self._failures.pop(key, None)

    def drop(self, key: Key) -> None:
        """Forget what was planned for a key; what runs goes on."""
        self._planned.pop(key, None)
        self._failures.pop(key, None)
        self._advance()

    def is_planned(self, key: Key) -> bool:
        """Tell whether a key is planned or running."""
        return key in self._planned or key in self._running

    def expected_wait_seconds(self, urgency: Urgency) -> float:
        """Return about how long a new job of this urgency would wait for its request."""
        ahead = sum(1 for entry in self._planned.values() if entry.urgency <= urgency and self._is_waiting(entry))
        return max(0.0, self.limiter.ready_at() - self._now()) + ahead / self.limiter.rate

    def _is_waiting(self, entry: _Entry) -> bool:
        return entry.urgency is not Urgency.FREE and entry.due <= self._now()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _plan(self, entry: _Entry) -> None:
        self._planned[entry.key] = entry
        self._sequence += 1
        heapq.heappush(self._later, (entry.due, self._sequence, entry))
        self._advance()

    def _advance(self) -> None:
        """Start all that may start now, and arm the timer for what comes next."""
        if self._work is None:
            return
        now = self._now()
        self._move_due(now)
        self._start_ready(now)
        self._arm(now)

    def _move_due(self, now: float) -> None:
        while self._later and (self._later[0][0] <= now or not self._is_current(self._later[0][2])):
            _, sequence, entry = heapq.heappop(self._later)
            if self._is_current(entry):
                heapq.heappush(self._ready, (entry.urgency, entry.due, sequence, entry))

    def _is_current(self, entry: _Entry) -> bool:
        return self._planned.get(entry.key) is entry

    def _start_ready(self, now: float) -> None:
        held = []
        while self._ready and self._may_start(self._ready[0][3], now):
            item = heapq.heappop(self._ready)
            entry = item[3]
            if not self._is_current(entry):
                continue
            if entry.key in self._running:
                held.append(item)
            else:
                self._launch(entry, now)
        for item in held:
            heapq.heappush(self._ready, item)

    def _may_start(self, entry: _Entry, now: float) -> bool:
        if entry.urgency is Urgency.FREE or entry.key in self._running or not self._is_current(entry):
            return True
        return self._asking < _MOST_AT_ONCE and self.limiter.ready_at() <= now

    def _arm(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        times = [self._later[0][0]] if self._later else []
        if self._ready and self._asking < _MOST_AT_ONCE and self.limiter.ready_at() > now:
            times.append(self.limiter.ready_at())
        if times:
            self._timer = self._loop.call_at(min(times), self._advance)

    def _launch(self, entry: _Entry, now: float) -> None:
        del self._planned[entry.key]
        asks = entry.urgency is not Urgency.FREE
        if asks:
            self._asking += 1
            self.limiter.take(now)
        task = self._loop.create_task(self._run(entry.key), name=f"plexlink-{entry.key.kind}-{entry.key.id}")
        self._running[entry.key] = task
        task.add_done_callback(lambda _: self._finish(entry.key, asks=asks))

    async def _run(self, key: Key) -> None:
        if self._work is not None:
            await self._work(key)

    def _finish(self, key: Key, *, asks: bool) -> None:
        task = self._running.pop(key)
        if asks:
            self._asking -= 1
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("poller.job_raised kind=%s", key.kind, exc_info=error)
        self._advance()
