"""Which job is done next, and when: a heap of due times, one armed timer, one pace.

A job is a key that becomes due in a lane. Jobs that ask plex.tv share the pace and go by lane, the most
urgent first, then the one that is due first; of the questions about pending codes, the one that `order` puts first.
Jobs that only touch Discord or the database are free. Nothing runs while nothing is due, and no task sleeps. One key
runs at most once at a time.

What a member waits for comes before the background, which questions alone could starve for as long as many members
are linking. So after twenty questions one background job goes first: a sign-out, which is a promise too, then waits
for minutes at most, and takes no more than a twentieth from those who wait for their approval to be noticed.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from . import order
from .order import People, Question

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..plex.pace import Pace

_log = logging.getLogger(__name__)

_MOST_AT_ONCE = 8
_DRAIN_SECONDS = 6.0
_QUESTIONS_BEFORE_BACKGROUND = 20


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
    GIVEN_UP = "given-up"
    HEALTH = "health"
    NOTICE = "notice"
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
    question: Question | None = None
    sequence: int = 0

    @property
    def rank(self) -> tuple[Urgency, float, int]:
        return self.urgency, self.due, self.sequence


class Agenda:
    """Run jobs when they are due and plex.tv may be asked, which `pace` learns from whoever asks."""

    def __init__(self, *, pace: Pace) -> None:
        self.pace = pace
        self.people = People()
        self._planned: dict[Key, _Entry] = {}
        self._later: list[tuple[float, int, _Entry]] = []
        self._ready: list[tuple[tuple[Urgency, float, int], _Entry]] = []
        self._questions: dict[Key, Question] = {}
        self._next_last_at = inf
        self._ranking: list[Key] = []
        self._ranked_at = 0.0
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._held: dict[Key, _Entry] = {}
        self._asking: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._sequence = 0
        self._questions_in_a_row = 0
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

    def put_question(self, key: Key, question: Question) -> None:
        """Plan to ask about a pending code as soon as that is worth a request, unless that is planned sooner."""
        due = max(self._now(), order.due_at(self.people, question))
        planned = self._planned.get(key)
        if planned is None or planned.due > due:
            self._plan(_Entry(key, Urgency.POLL, due, question))

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
        self._questions.pop(key, None)
        self._failures.pop(key, None)
        self._advance()

    def is_planned(self, key: Key) -> bool:
        """Tell whether a key is planned or running."""
        return key in self._planned or key in self._running

    def learn(self, question: Question, *, approved_by: float | None) -> None:
        """Learn from how a code ended: approved since it was last asked about, or not before it ran out."""
        asked = question.asked_at - question.shown_at
        if approved_by is None:
            self.people = self.people.after_silence(asked)
        else:
            self.people = self.people.after_approval(asked, approved_by - question.shown_at)

    def expected_wait_seconds(self, key: Key) -> float:
        """Return about how long a planned job will wait for its request."""
        mine = self._planned.get(key)
        if mine is None:
            return 0.0
        ahead = sum(1 for entry in self._planned.values() if self._is_waiting(entry) and entry.rank < mine.rank)
        return max(0.0, self.pace.ready_at() - self._now(), mine.due - self._now()) + ahead / self.pace.rate

    def _is_waiting(self, entry: _Entry) -> bool:
        return entry.urgency is not Urgency.FREE and entry.due <= self._now()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _plan(self, entry: _Entry) -> None:
        self._sequence += 1
        entry.sequence = self._sequence
        self._planned[entry.key] = entry
        self._questions.pop(entry.key, None)
        heapq.heappush(self._later, (entry.due, entry.sequence, entry))
        self._advance()

    def _advance(self) -> None:
        """Start all that may start now, and arm the timer for what comes next."""
        if self._work is None:
            return
        now = self._now()
        self._move_due(now)
        while (entry := self._next(now)) is not None:
            self._launch(entry, now)
        self._arm(now)

    def _is_current(self, entry: _Entry) -> bool:
        return self._planned.get(entry.key) is entry

    def _move_due(self, now: float) -> None:
        while self._later and (self._later[0][0] <= now or not self._is_current(self._later[0][2])):
            entry = heapq.heappop(self._later)[2]
            if self._is_current(entry):
                self._line_up(entry)
        soon = now + 1 / self.pace.rate
        if soon > self._next_last_at:
            for key in [key for key, question in self._questions.items() if question.last_at < soon]:
                self._hurry(self._planned[key])
            self._next_last_at = min((question.last_at for question in self._questions.values()), default=inf)

    def _line_up(self, entry: _Entry) -> None:
        """Let a job that is due wait for its turn; while the same key runs, for its end first."""
        if entry.key in self._running:
            self._held[entry.key] = entry
        elif entry.question is None:
            heapq.heappush(self._ready, (entry.rank, entry))
        else:
            self._questions[entry.key] = entry.question
            self._next_last_at = min(self._next_last_at, entry.question.last_at)

    def _hurry(self, entry: _Entry) -> None:
        """Let a question whose last chance has come go ahead of all that has time."""
        del self._questions[entry.key]
        entry.urgency = Urgency.PRESSED
        heapq.heappush(self._ready, (entry.rank, entry))

    def _next(self, now: float) -> _Entry | None:
        """Take the job that goes now out of the line, if one may go."""
        entry = self._most_urgent()
        is_free = entry is not None and entry.urgency is Urgency.FREE
        if not is_free and not self._may_ask(now):
            return None
        if self._questions and (entry is None or self._gives_way(entry)):
            return self._first_question(now)
        return heapq.heappop(self._ready)[1] if self._ready else None

    def _first_question(self, now: float) -> _Entry:
        if now >= self._ranked_at + order.RANK_HOLDS_SECONDS:
            self._ranking.clear()
        while True:
            if not self._ranking:
                self._rank(now)
            key = self._ranking.pop()
            if key in self._questions:
                return self._planned[key]

    def _rank(self, now: float) -> None:
        crowd = sum(1 for entry in self._planned.values() if entry.question is not None)
        self._ranking = order.ranked(self.people, self._questions, now, crowd=crowd, rate=self.pace.rate)
        self._ranked_at = now

    def _most_urgent(self) -> _Entry | None:
        while self._ready and not self._is_current(self._ready[0][1]):
            heapq.heappop(self._ready)
        return self._ready[0][1] if self._ready else None

    def _gives_way(self, entry: _Entry) -> bool:
        """Tell whether a job lets questions pass."""
        return entry.urgency is Urgency.BACKGROUND and self._questions_in_a_row < _QUESTIONS_BEFORE_BACKGROUND

    def _may_ask(self, now: float) -> bool:
        return len(self._asking) < _MOST_AT_ONCE and self.pace.ready_at() <= now

    def _arm(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        times = [self._later[0][0]] if self._later else []
        if (self._ready or self._questions) and len(self._asking) < _MOST_AT_ONCE:
            times.append(max(now, self.pace.ready_at()))
        if times:
            self._timer = self._loop.call_at(min(times), self._advance)

    def _launch(self, entry: _Entry, now: float) -> None:
        del self._planned[entry.key]
        self._questions.pop(entry.key, None)
        if entry.urgency is not Urgency.FREE:
            self._asking.add(entry.key)
            self.pace.take(now)
            self._count(entry)
        task = self._loop.create_task(self._run(entry.key), name=f"plexlink-{entry.key.kind}-{entry.key.id}")
        self._running[entry.key] = task
        task.add_done_callback(lambda _: self._finish(entry.key))

    def _count(self, entry: _Entry) -> None:
        if entry.urgency is Urgency.BACKGROUND:
            self._questions_in_a_row = 0
        elif entry.question is not None:
            self._questions_in_a_row += 1

    async def _run(self, key: Key) -> None:
        if self._work is not None:
            await self._work(key)

    def _finish(self, key: Key) -> None:
        task = self._running.pop(key)
        self._asking.discard(key)
        held = self._held.pop(key, None)
        if held is not None and self._is_current(held):
            self._line_up(held)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("agenda.job_raised kind=%s", key.kind, exc_info=error)
        self._advance()
