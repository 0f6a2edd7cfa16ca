"""Which job is done next, and when: a heap of due times, one armed timer, one pace.

A job is a key that becomes due. Jobs that ask plex.tv share its pace. What has a last chance goes in time for it,
whatever else waits, and in a pause too. Of all others `shares` says for what purpose the next request is made; of the
same purpose the job goes that is due first, and of the questions about pending codes the one that `order` puts first.
Jobs that only touch Discord or the database are free. Nothing runs while nothing is due, and no task sleeps. One key
runs at most once at a time.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import Counter, defaultdict
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from ..vitals import Jobs
from . import order
from .order import People, Question
from .shares import Purpose, Shares

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from ..plex.pace import Pace

_log = logging.getLogger(__name__)

_MOST_AT_ONCE = 8
_DRAIN_SECONDS = 6.0

_SAME_END_SECONDS = 0.5
"""An end that was reckoned anew, by another clock, is the same one."""

_LATE_SECONDS = 0.5
"""So long after its last chance a job is still worth its request."""

_AWAITED = {Purpose.PRESSED, Purpose.ACCOUNT, Purpose.CREATE}
"""For what somebody waits just now: it gets every second request, unless it would cost somebody the last chance."""

_MOST_BEFORE_AWAITED = 8
"""So many last chances go first in a row, at most."""

_ENDLESS = 1_000_000
"""So many questions wait while there are codes: whoever was asked about in vain comes again."""


class Kind(StrEnum):
    """What a job works on."""

    ATTEMPT = "attempt"
    CARD = "card"
    SIGN_OUT = "sign-out"
    GIVEN_UP = "given-up"
    HEALTH = "health"
    NOTICE = "notice"
    ACCESS = "access"
    ROLES = "roles"
    AUDIT = "audit"
    PANEL = "panel"
    HOLDERS = "holders"
    SWEEP = "sweep"
    CLOSING = "closing"


class Key(NamedTuple):
    """What makes a job the same job."""

    kind: Kind
    id: str


class _Entry(NamedTuple):
    """One planned job, in the order of the heaps; superseded entries stay there and are passed over."""

    due: float
    sequence: int
    key: Key
    purpose: Purpose
    question: Question | None
    last_at: float


class Agenda:
    """Run jobs when they are due and plex.tv may be asked, which `pace` learns from whoever asks."""

    def __init__(self, *, pace: Pace) -> None:
        self.pace = pace
        self.people = People()
        self._planned: dict[Key, _Entry] = {}
        self._later: list[_Entry] = []
        self._ready: defaultdict[Purpose, list[_Entry]] = defaultdict(list)
        self._questions: dict[Key, Question] = {}
        self._last_chances: dict[Key, _Entry] = {}
        self._by_last_chance: list[tuple[float, Key]] = []
        self._listed_at: dict[Key, float] = {}
        self._had_last_chance: dict[Key, float] = {}
        self._kept_waiting = 0
        self._shares = Shares()
        self._ranking: list[Key] = []
        self._ranked_at = 0.0
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._held: dict[Key, _Entry] = {}
        self._asking: set[Key] = set()
        self._failures: dict[Key, int] = {}
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

    def put(self, key: Key, purpose: Purpose, delay_seconds: float = 0.0, *, last_chance_seconds: float = inf) -> None:
        """Plan a job, replacing what was planned for the same key; at its last chance it goes ahead of all others."""
        now = self._now()
        last_at = now + last_chance_seconds if last_chance_seconds > 0 else inf
        self._plan(key, purpose, now + max(0.0, delay_seconds), last_at)

    def put_in_line(
        self, key: Key, purpose: Purpose, delay_seconds: float = 0.0, *, last_chance_seconds: float = inf
    ) -> None:
        """Plan a job as `put` does, unless it waits for the same purpose already, and keeps its place in that line."""
        planned = self._planned.get(key)
        if planned is None or planned.purpose is not purpose or self._is_sooner(key, delay_seconds):
            self.put(key, purpose, delay_seconds, last_chance_seconds=last_chance_seconds)

    def put_sooner(self, key: Key, purpose: Purpose, delay_seconds: float = 0.0) -> None:
        """Plan a job unless the same key is planned for an earlier time."""
        if self._is_sooner(key, delay_seconds):
            self.put(key, purpose, delay_seconds)

    def _is_sooner(self, key: Key, delay_seconds: float) -> bool:
        planned = self._planned.get(key)
        return planned is None or planned.due > self._now() + max(0.0, delay_seconds)

    def put_question(self, key: Key, question: Question) -> None:
        """Plan to ask about a pending code as soon as that is worth a request, unless that is planned sooner."""
        due = max(self._now(), order.due_at(self.people, question))
        planned = self._planned.get(key)
        if planned is None or planned.due > due:
            self._plan(key, Purpose.POLL, due, question.last_at, question)

    def retry(
        self,
        key: Key,
        purpose: Purpose,
        *,
        first_seconds: float = 3.0,
        longest_seconds: float = 30.0,
        not_before_seconds: float = 0.0,
        last_chance_seconds: float = inf,
    ) -> float:
        """Plan a job that failed again, later each time, counted from `not_before_seconds` on; return the delay."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = not_before_seconds + min(longest_seconds, first_seconds * 2.0 ** min(failures - 1, 16))
        if self._is_sooner(key, delay):
            self.put(key, purpose, delay, last_chance_seconds=last_chance_seconds)
        return delay

    def failures(self, key: Key) -> int:
        """Return how often a job failed in a row."""
        return self._failures.get(key, 0)

    def succeeded(self, key: Key) -> None:
        """Forget a job's failures."""
        self._failures.pop(key, None)

    def drop(self, key: Key) -> None:
        """Forget what was planned for a key; what runs goes on."""
        for memory in (self._planned, self._questions, self._last_chances, self._had_last_chance, self._failures):
            memory.pop(key, None)
        self._advance()

    def is_planned(self, key: Key) -> bool:
        """Tell whether a key is planned or running."""
        return key in self._planned or key in self._running

    def jobs(self) -> Jobs:
        """Return what waits for its turn."""
        now = self._now()
        due = Counter(str(entry.key.kind) for entry in self._planned.values() if entry.due <= now)
        has_died = self._work is not None and self._timer is None and bool(self._planned)
        goes_off_at = now if self._timer is None else self._timer.when()
        return Jobs(waiting=due, overdue_seconds=inf if has_died else max(0.0, now - goes_off_at))

    def learn(self, question: Question, *, approved_by: float | None) -> None:
        """Learn from how a code ended: approved since it was last asked about, or not before it ran out."""
        asked = question.asked_at - question.shown_at
        if approved_by is None:
            self.people = self.people.after_silence(asked)
        else:
            self.people = self.people.after_approval(asked, approved_by - question.shown_at)

    def expected_wait_seconds(self, key: Key) -> float:
        """Return about how long a planned job will wait for its request; questions about codes are made meanwhile."""
        mine = self._planned.get(key)
        if mine is None:
            return 0.0
        ahead: Counter[Purpose] = Counter()
        for entry in self._planned.values():
            is_ahead = entry.purpose is not mine.purpose or entry < mine
            if entry.purpose is not Purpose.FREE and entry.due <= self._now() and is_ahead:
                ahead[entry.purpose] += 1
        if any(entry.question for entry in self._planned.values()) and mine.purpose is not Purpose.POLL:
            ahead[Purpose.POLL] = _ENDLESS
        before = self._shares.requests_before(mine.purpose, ahead)
        return max(0.0, self.pace.ready_at() - self._now(), mine.due - self._now()) + before / self.pace.rate

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _plan(self, key: Key, purpose: Purpose, due: float, last_at: float, question: Question | None = None) -> None:
        self._sequence += 1
        entry = self._planned[key] = _Entry(due, self._sequence, key, purpose, question, last_at)
        self._questions.pop(key, None)
        self._last_chances.pop(key, None)
        if last_at < inf:
            self._last_chances[key] = entry
            if self._listed_at.get(key) != last_at:
                self._listed_at[key] = last_at
                heapq.heappush(self._by_last_chance, (last_at, key))
        heapq.heappush(self._later, entry)
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
        while self._later and (self._later[0].due <= now or not self._is_current(self._later[0])):
            entry = heapq.heappop(self._later)
            if self._is_current(entry):
                self._line_up(entry)

    def _line_up(self, entry: _Entry) -> None:
        """Let a job that is due wait for its turn; while the same key runs, for its end first."""
        if entry.key in self._running:
            self._held[entry.key] = entry
        elif entry.question is None:
            heapq.heappush(self._ready[entry.purpose], entry)
        else:
            self._questions[entry.key] = entry.question

    def _next(self, now: float) -> _Entry | None:
        """Take the job that goes now out of the line, if one may go."""
        if self._first(Purpose.FREE):
            return heapq.heappop(self._ready[Purpose.FREE])
        if len(self._asking) >= _MOST_AT_ONCE:
            return None
        waiting = self._waiting()
        goes_at, entry = self._next_last_chance(waiting)
        if entry and max(goes_at, self.pace.ready_at(in_a_pause=True)) <= now:
            self._had_last_chance[entry.key] = entry.last_at  # what was asked in vain comes again, with the same end
            self._kept_waiting = 0 if _AWAITED.isdisjoint(waiting) else self._kept_waiting + 1
            return entry
        return self._take_turn(waiting, now) if waiting and self._may_ask(now, goes_at) else None

    def _may_ask(self, at: float, last_chance_at: float) -> bool:
        """Tell whether a request may go at a time without putting off the one that would come too late."""
        return self.pace.ready_at() <= at <= last_chance_at - 1 / self.pace.rate

    def _take_turn(self, waiting: Collection[Purpose], now: float) -> _Entry:
        purpose = self._shares.first(waiting)
        self._shares.took(purpose)
        self._kept_waiting = 0
        return heapq.heappop(self._ready[purpose]) if self._first(purpose) else self._first_question(now)

    def _waiting(self) -> set[Purpose]:
        """Return what there is to be done at plex.tv."""
        waiting: set[Purpose] = {purpose for purpose in self._ready if purpose is not Purpose.FREE}
        waiting = {purpose for purpose in waiting if self._first(purpose)}
        if self._questions:
            waiting.add(Purpose.POLL)
        return waiting

    def _first(self, purpose: Purpose) -> _Entry | None:
        ready = self._ready[purpose]
        while ready and not self._is_current(ready[0]):
            heapq.heappop(ready)
        return ready[0] if ready else None

    def _next_last_chance(self, waiting: Collection[Purpose]) -> tuple[float, _Entry | None]:
        """Return when the next job goes for which it would be too late afterwards, and which it is.

        Those that would go at the same time go one after the other until then, each once. Where somebody waits for
        something else, that goes in between, unless a pause keeps it back or one would be lost.
        """
        now = self._now()
        is_shared = self.pace.paused_until() <= now and not _AWAITED.isdisjoint(waiting)
        if is_shared and self._kept_waiting and not self._must_go_on(now):
            return inf, None
        apart = (2 if is_shared else 1) / self.pace.rate
        goes_at, first = self._earliest_last_chance() - (len(self._last_chances) - 1) * apart, None
        if goes_at > now + 1 / self.pace.rate:
            return goes_at, None  # not before then, however many there are
        goes_at = inf
        for entry in sorted(self._last_chances.values(), key=lambda entry: -entry.last_at):
            if self._is_unused(entry) and now <= entry.last_at + _LATE_SECONDS:
                goes_at, first = min(entry.last_at, goes_at - apart), entry
        return goes_at, first

    def _must_go_on(self, now: float) -> bool:
        """Tell whether a last chance would be lost if something else went first; for a while that has to wait then."""
        return self._kept_waiting < _MOST_BEFORE_AWAITED and any(
            now <= entry.last_at + _LATE_SECONDS < now + 1 / self.pace.rate and self._is_unused(entry)
            for entry in self._last_chances.values()
        )

    def _is_unused(self, entry: _Entry) -> bool:
        had = self._had_last_chance.get(entry.key, -inf)
        return entry.key not in self._running and abs(had - entry.last_at) >= _SAME_END_SECONDS

    def _earliest_last_chance(self) -> float:
        while self._by_last_chance:
            last_at, key = self._by_last_chance[0]
            if key in self._last_chances and self._last_chances[key].last_at == last_at:
                return last_at
            heapq.heappop(self._by_last_chance)
            if self._listed_at.get(key) == last_at:
                del self._listed_at[key]
        return inf

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

    def _arm(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        times = [self._later[0].due] if self._later else []
        if len(self._asking) < _MOST_AT_ONCE:
            waiting = self._waiting()
            goes_at, _ = self._next_last_chance(waiting)
            if goes_at < inf:
                times.append(max(now, goes_at, self.pace.ready_at(in_a_pause=True)))
            next_at = max(now, self.pace.ready_at())
            if waiting and self._may_ask(next_at, goes_at):
                times.append(next_at)
        if times:
            self._timer = self._loop.call_at(min(times), self._advance)

    def _launch(self, entry: _Entry, now: float) -> None:
        del self._planned[entry.key]
        self._questions.pop(entry.key, None)
        self._last_chances.pop(entry.key, None)
        if entry.purpose is not Purpose.FREE:
            self._asking.add(entry.key)
            self.pace.take(now)
        task = self._loop.create_task(self._run(entry.key), name=f"plexlink-{entry.key.kind}-{entry.key.id}")
        self._running[entry.key] = task
        task.add_done_callback(lambda _: self._finish(entry.key))

    async def _run(self, key: Key) -> None:
        if self._work is not None:
            await self._work(key)

    def _finish(self, key: Key) -> None:
        task = self._running.pop(key)
        self._asking.discard(key)
        held = self._held.pop(key, None)
        if held is not None and self._is_current(held):
            self._line_up(held)
        if key not in self._planned:  # whoever fails is planned again
            self._failures.pop(key, None)
            self._had_last_chance.pop(key, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("agenda.job_raised kind=%s", key.kind, exc_info=error)
        self._advance()
