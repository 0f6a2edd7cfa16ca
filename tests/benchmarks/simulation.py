"""How soon an approval is noticed: the real agenda and order in virtual time, beside the usual ways of polling.

Members start as a Poisson process. A code is there when plex.tv made it; its member approves after a log-normal time,
or never, and may press *I've approved it* soon after. Everything costs a request of the one pace: making the PIN,
each question, reading the account. Arrivals and approvals depend on the seed alone, so every way meets the same ones.
"""

from __future__ import annotations

import asyncio
import math
import random
import statistics
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from plexlink.plex.pace import Pace
from plexlink.work.agenda import Agenda, Key, Kind
from plexlink.work.order import People, Question
from plexlink.work.shares import Purpose
from virtual_time import play

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LIFE_SECONDS = 900.0
LAST_CHANCE_SECONDS = 1.0
ANSWER_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Scenario:
    """What members do."""

    starts_a_minute: float
    median_seconds: float = 30.0
    sigma: float = 0.7
    never: float = 0.15
    presses: float = 0.0
    hours: float = 2.0


@dataclass(slots=True)
class Member:
    """One start: when, how long after seeing the code the member approves, and how long after that the button comes."""

    starts_at: float
    approves_after: float
    presses_after: float
    shown_at: float = math.inf
    asked_at: float = math.inf
    longest_wait: float = 0.0
    is_over: bool = False

    @property
    def approved_at(self) -> float:
        return self.shown_at + self.approves_after

    @property
    def last_at(self) -> float:
        return self.shown_at + LIFE_SECONDS - LAST_CHANCE_SECONDS


@dataclass(slots=True)
class Outcome:
    """What came of it: seconds from approval to notice, and the requests of each sort."""

    delays: list[float] = field(default_factory=list)
    questions: int = 0
    missed: int = 0
    longest_wait: float = 0.0
    seconds: float = 0.0

    @property
    def mean(self) -> float:
        return statistics.fmean(self.delays)

    @property
    def worst_percent(self) -> float:
        """The 99th percentile."""
        return sorted(self.delays)[int(len(self.delays) * 0.99)]


def members(scenario: Scenario, seed: int) -> list[Member]:
    """Return who starts when and approves how quickly."""
    chance = random.Random(f"{scenario} {seed}")  # noqa: S311 - a simulation
    at, found = chance.expovariate(scenario.starts_a_minute / 60), []
    while at < scenario.hours * 3600:
        takes = scenario.median_seconds * math.exp(scenario.sigma * chance.gauss())
        never, presses, hesitates = chance.random(), chance.random(), chance.uniform(2, 4)
        found.append(
            Member(
                starts_at=at,
                approves_after=math.inf if never < scenario.never else takes,
                presses_after=hesitates if presses < scenario.presses else math.inf,
            )
        )
        at += chance.expovariate(scenario.starts_a_minute / 60)
    return found


@dataclass(frozen=True)
class Knowing(People):
    """What is expected by an order that was told how people approve; it has nothing to learn."""

    scenario: Scenario = Scenario(0)

    def gain(self, asked: float, age: float) -> float:
        """Return the seconds of waiting that a question ends on average."""
        approved = _approved(self.scenario, asked)
        waited = _waited(self.scenario, age) - _waited(self.scenario, asked) - approved * (age - asked)
        return waited / (1.0 - approved)

    def after_approval(self, asked: float, age: float) -> People:  # noqa: ARG002
        """Return what is known already."""
        return self

    def after_silence(self, age: float) -> People:  # noqa: ARG002
        """Return what is known already."""
        return self


def _approved(scenario: Scenario, age: float) -> float:
    """Return the share of all members that has approved at an age: log-normal, but for those who never do."""
    return (1.0 - scenario.never) * _phi(_steps(scenario, age))


def _waited(scenario: Scenario, age: float) -> float:
    """Return the integral of `_approved` up to an age."""
    steps = _steps(scenario, age)
    mean = scenario.median_seconds * math.exp(scenario.sigma**2 / 2)
    return (1.0 - scenario.never) * (age * _phi(steps) - mean * _phi(steps - scenario.sigma))


def _steps(scenario: Scenario, age: float) -> float:
    return math.log(max(age, 1e-9) / scenario.median_seconds) / scenario.sigma


def _phi(deviations: float) -> float:
    return 0.5 * math.erfc(-deviations / math.sqrt(2))


class Run:
    """One way of polling, and the members that it meets."""

    def __init__(
        self, crowd: Iterable[Member], plan: Callable[[Run, Key, Member], None], rate: float, people: People
    ) -> None:
        self.agenda = Agenda(pace=Pace(rate))
        self.agenda.people = people
        self.outcome = Outcome()
        self._plan = plan
        self._crowd = {f"{number}": member for number, member in enumerate(crowd)}
        self._loop = asyncio.get_running_loop()

    async def play(self) -> Outcome:
        """Let everybody come and go."""
        self.agenda.start(self._work)
        began = self._loop.time()
        for name, member in self._crowd.items():
            member.starts_at += began
            self._loop.call_at(member.starts_at, self.agenda.put, Key(Kind.ATTEMPT, name), Purpose.CREATE)
        await asyncio.sleep(max(member.starts_at for member in self._crowd.values()) - began + 2 * LIFE_SECONDS)
        self.outcome.seconds = self._loop.time() - began - LIFE_SECONDS
        await self.agenda.stop()
        return self.outcome

    async def _work(self, key: Key) -> None:
        member = self._crowd[key.id]
        sent_at = self._loop.time()
        await asyncio.sleep(ANSWER_SECONDS)
        if member.shown_at == math.inf:
            self._show(key, member)
        elif not member.is_over:
            self._answer(key, member, sent_at)

    def _show(self, key: Key, member: Member) -> None:
        member.shown_at = member.asked_at = self._loop.time()
        if member.approves_after >= LIFE_SECONDS - 2 * LAST_CHANCE_SECONDS:
            member.approves_after = math.inf
        if member.approves_after + member.presses_after < math.inf:
            self._loop.call_at(member.approved_at + member.presses_after, self._press, key, member)
        self._plan(self, key, member)

    def _press(self, key: Key, member: Member) -> None:
        if not member.is_over:
            self.agenda.put(key, Purpose.PRESSED)

    def _answer(self, key: Key, member: Member, sent_at: float) -> None:
        self.outcome.questions += 1
        self.outcome.longest_wait = max(self.outcome.longest_wait, sent_at - member.asked_at)
        question = Question(member.shown_at, member.asked_at, member.last_at)
        if sent_at >= member.approved_at:
            self.outcome.delays.append(self._loop.time() - member.approved_at)
            self.agenda.learn(question, approved_by=sent_at)
            self._end(member)
            self.agenda.put(key, Purpose.ACCOUNT)
        elif sent_at >= member.last_at:
            self.outcome.missed += member.approves_after < math.inf
            self.agenda.learn(question, approved_by=None)
            self._end(member)
        else:
            member.asked_at = sent_at
            self._plan(self, key, member)

    @staticmethod
    def _end(member: Member) -> None:
        member.is_over = True


def by_gain(run: Run, key: Key, member: Member) -> None:
    """Plan as PlexLink does."""
    run.agenda.put_question(key, Question(member.shown_at, member.asked_at, member.last_at))


def every(seconds: float) -> Callable[[Run, Key, Member], None]:
    """Plan to ask about every code at a fixed interval, and just before its deadline."""

    def plan(run: Run, key: Key, member: Member) -> None:
        left = member.last_at - asyncio.get_running_loop().time()
        run.agenda.put(key, Purpose.POLL, min(seconds, left), last_chance_seconds=left)

    return plan


FIXED = every(5.0)
"""What most programs do that use this sign-in."""

ROUND_ROBIN = every(1.0)
"""Whoever has waited longest goes next, with every request that the pace grants."""


def simulate(
    scenario: Scenario,
    plan: Callable[[Run, Key, Member], None],
    seed: int,
    *,
    rate: float = 1.0,
    people: People | None = None,
) -> Outcome:
    """Return what one way of polling makes of a scenario, with what is expected of people at the beginning."""

    async def scene() -> Outcome:
        return await Run(members(scenario, seed), plan, rate, people or People()).play()

    return play(scene)


def learned(scenario: Scenario, approvals: int, seed: int) -> People:
    """Return what PlexLink expects after so many approvals."""

    async def scene() -> People:
        hours = approvals / (1.0 - scenario.never) / scenario.starts_a_minute / 60
        run = Run(members(replace(scenario, hours=hours), seed), by_gain, 1.0, People())
        await run.play()
        return run.agenda.people

    return play(scene)
