"""The bot is stopped at every interesting place, started again, and every member's story ends as promised.

One process carries many members, each of whom is caught at a point of their own; one signal then stops all of them
at once. Commits are taken one by one: the process kills itself right before or right after one.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest

from busy_members import IMPATIENT_SECONDS, Goal, Member
from crash_points import DYING_RUN, GIVE, OPEN_DM, PATIENT_RUN, POINTS, Gates, Order, Point, Trap
from invariants import Witness
from processes import PATIENCE_SECONDS, deployment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from processes import BotProcess, Deployment

CROWDED = {"PLEXLINK_PLEX_RATE": "200", "PLEXLINK_MAX_PENDING": "1000", "PLEXLINK_LOG_LEVEL": "DEBUG"}
AT_ONCE = 4
MOST_AT_PLEX = 5
"""The bot asks plex.tv eight things at once: so many may hang that the others can go on."""
TRIES = 4
IS_SOAK = "PLEXLINK_KILLS" in os.environ
"""`make soak` stops the bot at each point in every way, and at each commit in both lanes. `make proof` leaves out the
ways in which nothing is lost but time: a request that never came to its work, and an answer that came as it should.
"""
AFTERWARDS_SECONDS = 2.0

pytestmark = pytest.mark.timeout(1800)  # minutes each, of many processes on a machine that may be busy

UNTIDY = ("Traceback", "nclosed", "Task was destroyed", "never awaited", "never retrieved", " ERROR ", "Warning:")


async def at_once(stories: Iterable[Callable[[], Awaitable[list[str]]]]) -> list[str]:
    """Run several deployments side by side; return what failed in any."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(story: Callable[[], Awaitable[list[str]]]) -> list[str]:
        async with room:
            try:
                return await story()
            except AssertionError as error:
                return [str(error)]

    failures = await asyncio.gather(*(one(story) for story in stories))
    return [failure for some in failures for failure in some]


# One request is in flight.


def batches(way: Way) -> list[list[Point]]:
    """Share the points among deployments.

    Only so many hang at plex.tv, and only one each where conversations begin and where roles are given.
    """
    points = [point for point in POINTS if IS_SOAK or point.is_done != way.goes_on]
    at_plex = [point for point in points if point.is_at_plex]
    count = -(-len(at_plex) // MOST_AT_PLEX)
    roles = [point for point in points if point.is_about_role]
    others = [point for point in points if not point.is_at_plex and not point.is_about_role]
    batches = [[*others[number::count], *roles[number::count], *at_plex[number::count]] for number in range(count)]
    assert all(sum(point.request == OPEN_DM for point in batch) <= 1 for batch in batches)
    assert all(sum(point.is_about_role for point in batch) <= 1 for batch in batches)
    return batches


@dataclass(frozen=True)
class Way:
    """How a process is stopped, and what becomes of the requests that are in flight."""

    is_killed: bool
    goes_on: bool
    """Whether they are answered after all: after a signal to stop in time, after a kill too late."""
    token_reads: int | None = None

    @property
    def name(self) -> str:
        """How a failure is reported."""
        return f"{'SIGKILL' if self.is_killed else 'SIGTERM'}, {'answered' if self.goes_on else 'never answered'}"


WAYS = [
    Way(is_killed, goes_on, token_reads)
    for is_killed in (False, True)
    for goes_on, token_reads in ((False, None), (True, 1))
]


class Crash:
    """One deployment whose members are all caught, stopped and brought to their ends."""

    def __init__(self, place: Deployment, points: list[Point], way: Way) -> None:
        self.witness = Witness(place, most_overtaking=math.inf)  # what a trap holds, anything may overtake
        self._place = place
        self._points = points
        self._way = way
        self._gates = Gates(place.plex)
        self._caught: dict[Point, tuple[Member, Trap]] = {}
        self._failures: list[str] = []

    async def run(self) -> list[str]:
        """Return what failed, by the point's name."""
        self._place.plex.token_reads = self._way.token_reads
        bot = await self._place.start(arguments=PATIENT_RUN)
        self._place.choose_role()
        try:
            await self._catch_all()
            await self._stop(bot)
            await self._place.start()
            await self._bring_to_an_end()
        finally:
            self._let_go()
        return self._failures

    async def _catch_all(self) -> None:
        """Bring every member to their point; what keeps others waiting comes last."""
        for group in ("others", "plex", "conversations"):
            await asyncio.gather(*(self._catch(point) for point in self._points if _group(point) == group))

    async def _catch(self, point: Point) -> None:
        """Let a member live until their request is caught; who slips through gets a successor."""
        for number in range(TRIES):
            name = f"member{self._points.index(point)}x{number}"
            member = Member(self.witness, name, point.goal, closed=point.closed, patience_seconds=PATIENCE_SECONDS)
            trap = Trap(point, discord=self._place.discord, gates=self._gates, user=member.user)
            member.watch = trap.watch
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    # A role comes when those have theirs who linked before, however long that takes; none is taken
                    # from whoever unlinks before it has come.
                    afterwards = PATIENCE_SECONDS if point.request == GIVE else AFTERWARDS_SECONDS
                    await self._live_until_caught(member, trap, afterwards)
            if trap.has_caught:
                self._caught[point] = (member, trap)
                return
        self._fail(point, "never reached")

    async def _live_until_caught(self, member: Member, trap: Trap, afterwards: float) -> None:
        living = asyncio.create_task(self._live_on(member, afterwards))
        catching = asyncio.create_task(trap.caught())
        try:
            await asyncio.wait({living, catching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            living.cancel()
            catching.cancel()
            await asyncio.gather(living, catching, return_exceptions=True)

    async def _live_on(self, member: Member, afterwards: float) -> None:
        """Live to the goal and a little longer: the bot signs out when the card has told of it."""
        await member.live()
        await asyncio.sleep(afterwards)

    async def _stop(self, bot: BotProcess) -> None:
        if self._way.is_killed:
            await bot.kill()
            self._let_go_if_they_go_on()
        else:
            stopping = asyncio.create_task(bot.terminate(PATIENCE_SECONDS))
            await bot.logged("bot.stopping")
            self._let_go_if_they_go_on()
            assert await stopping == 0, bot.log
            assert not [line for line in bot.log.splitlines() if any(word in line for word in UNTIDY)], bot.log
        self.witness.stopped()

    def _let_go_if_they_go_on(self) -> None:
        if self._way.goes_on:
            self._let_go()

    def _let_go(self) -> None:
        for _, trap in self._caught.values():
            trap.open()

    async def _bring_to_an_end(self) -> None:
        """First the bot must do what it owes without any help, then the members go on."""
        self._complain(await self.witness.all_is_well())
        for point, (member, _) in self._caught.items():
            if point.then not in {None, member.state()}:
                self._fail(point, f"the card says {member.state()!r}, not {point.then!r}")
            if point.is_noted and not member.is_answered():
                self._fail(point, "the command was noted, and is not answered")
            member.watch = lambda _: None
            member.patience_seconds = IMPATIENT_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asyncio.gather(*(member.live() for member, _ in self._caught.values()))
        self._complain(await self.witness.all_is_well())
        for point, (member, _) in self._caught.items():
            if not member.has_arrived():
                self._fail(point, f"the story ended with {member.state()!r}")

    def _complain(self, complaints: dict[int, list[str]]) -> None:
        """Find the points to which complaints belong."""
        points = {member.user.id: point for point, (member, _) in self._caught.items()}
        for user_id, found in complaints.items():
            self._fail(points.get(user_id), *found)

    def _fail(self, point: Point | None, *failures: str) -> None:
        name = point.name if point else "nobody's"
        self._failures += [f"{name} ({self._way.name}): {failure}\n{self._evidence(point)}" for failure in failures]

    def _evidence(self, point: Point | None) -> str:
        """Return what a member saw and what the bot wrote about them."""
        if point not in self._caught:
            return ""
        member, _ = self._caught[point]
        seen = [f"{one.id} edited {one.edits} times: {one.text!r} {one.buttons}" for one in member.messages()]
        ids = {target.rsplit(":", 1)[-1] for one in member.messages() for _, target in one.buttons}
        words = (f"user={member.user.id}", *(f"attempt={one}" for one in ids))
        return "\n".join([*seen, *(line for line in self._place.log.splitlines() if any(w in line for w in words))])


def _group(point: Point) -> str:
    if point.is_at_plex:
        return "plex"
    return "conversations" if point.request == OPEN_DM else "others"


async def crash(folder: Path, points: list[Point], way: Way) -> list[str]:
    folder.mkdir()  # noqa: ASYNC240 - nothing runs yet
    async with deployment(folder, **CROWDED) as place:
        return await Crash(place, points, way).run()


async def test_every_story_ends_as_promised_wherever_the_bot_is_stopped(tmp_path: Path) -> None:
    failures = await at_once(
        [
            partial(crash, tmp_path / f"{way.name}, {number}", points, way)
            for way in WAYS
            for number, points in enumerate(batches(way))
        ]
    )
    assert not failures, "\n".join(failures)


# One commit.


class Commits:
    """One data folder and one bot after the other, each of which dies at another commit of a member's story."""

    def __init__(self, place: Deployment, *, closed: bool, moment: str) -> None:
        self.witness = Witness(place)
        self.count = 0
        self._place = place
        self._closed = closed
        self._moment = moment
        self._order = Order(place.folder)
        self._failures: list[str] = []

    async def run(self) -> list[str]:
        """Return what failed, by the commit's number."""
        bot = await self._place.start(arguments=DYING_RUN)
        self._place.choose_role()
        while await self._dies_at(self.count + 1, bot):
            self.count += 1
            self.witness.stopped()
            bot = await self._place.start(arguments=DYING_RUN)
            await self._end()
        return self._failures

    async def _dies_at(self, number: int, bot: BotProcess) -> bool:
        """Let a new member live; tell whether the bot died of it, or the story has fewer commits."""
        self._member = Member(self.witness, f"member{number}", Goal.UNDO, closed=self._closed)
        self._order.give(number, self._moment)
        living = asyncio.create_task(self._live_to_the_end())
        dying = asyncio.create_task(bot.wait(2 * PATIENCE_SECONDS))
        await asyncio.wait({living, dying}, return_when=asyncio.FIRST_COMPLETED)
        for task in (living, dying):
            task.cancel()
        await asyncio.gather(living, dying, return_exceptions=True)
        if not self._order.is_carried_out:
            self._order.withdraw()
        return not bot.is_running

    async def _live_to_the_end(self) -> None:
        await self._member.live()
        assert not await self.witness.all_is_well()

    async def _end(self) -> None:
        """First the bot must do what it owes without any help, then the member goes on."""
        complaints = [*(await self.witness.all_is_well()).values()]
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._member.live()
        complaints += (await self.witness.all_is_well()).values()
        complaints += [] if self._member.has_arrived() else [[f"the story ended with {self._member.state()!r}"]]
        name = f"{self._moment} commit {self.count}{' by answer' if self._closed else ''}"
        self._failures += [f"{name}: {complaint}" for found in complaints for complaint in found]


async def commits(folder: Path, *, closed: bool, moment: str) -> list[str]:
    folder.mkdir()  # noqa: ASYNC240 - nothing runs yet
    async with deployment(folder, **CROWDED) as place:
        story = Commits(place, closed=closed, moment=moment)
        failures = await story.run()
        assert story.count > 8
        return failures


async def test_every_story_ends_as_promised_at_whichever_commit_the_bot_dies(tmp_path: Path) -> None:
    failures = await at_once(
        [
            partial(commits, tmp_path / f"{moment}-{closed}", closed=closed, moment=moment)
            for moment, closed in itertools.product(("before", "after"), (False, True))
            if IS_SOAK or closed == (moment == "before")
        ]
    )
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_first_start_that_dies_at_a_commit_leaves_nothing_that_stops_the_next(
    tmp_path: Path, moment: str
) -> None:
    async with deployment(tmp_path) as place:
        order, deaths = Order(tmp_path), 0
        order.give(1, moment)
        while await has_died(place):
            deaths += 1
            assert deaths < 10
            order.give(1 if moment == "after" else 1 + deaths, moment)
        order.withdraw()

        assert deaths >= 2
        await place.waiting_card()


async def has_died(place: Deployment) -> bool:
    """Start a bot; tell whether it ended before it was there."""
    try:
        await place.start(arguments=DYING_RUN)
    except AssertionError:
        return True
    return False
