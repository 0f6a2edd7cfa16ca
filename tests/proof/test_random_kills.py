"""A busy bot is killed at random moments, start-up included, and started again at once; nothing is lost.

`make proof` kills it a few times. PLEXLINK_KILLS=200 makes it a long run, PLEXLINK_SEED another one.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest

from busy_members import Goal, Member
from invariants import Books, Witness, says
from processes import RUN, deployment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from processes import BotProcess, Deployment

KILLS = int(os.environ.get("PLEXLINK_KILLS", "5"))
SEED = os.environ.get("PLEXLINK_SEED", "1")
SECONDS_A_KILL = 5

CROWD = 8
CROWDED = {"PLEXLINK_PLEX_RATE": "200", "PLEXLINK_MAX_PENDING": "1000", "PLEXLINK_LOG_LEVEL": "DEBUG"}
SHARE_OF_STARTS = 0.35
STARTS_WITHIN_SECONDS = 1.2
LIVES_SECONDS = 2.5
SHARE_OF_CLOSED = 0.3
MEMBER_LIVES_SECONDS = 20.0
SHARE_OF_DONE = 0.7
MOST_FAULTS_WAITING = 3


DISTURBED_RUN = (
    "-c",
    """
import itertools, random
from plexlink.errors import StoreUnavailableError
from plexlink.store.database import Database

looks, stay_in_place = itertools.count(), Database._stay_in_place

async def lose_the_answer(database):
    await stay_in_place(database)
    if next(looks) > 40 and random.random() < 0.01:
        raise StoreUnavailableError("This was the test's doing.")

Database._stay_in_place = lose_the_answer
from plexlink_bot.cli import main
main()
""",
    "run",
)
"""A bot that one transaction in fifty fails, before it has begun or after it was committed."""

WORD_OF_A_NEWER_RELEASE = "levitating"


class BusyRun:
    """Members who come and go, and a bot that is killed again and again."""

    def __init__(self, place: Deployment, chance: random.Random, *, is_disturbed: bool = False) -> None:
        self.is_disturbed = is_disturbed
        self.witness = Witness(place)
        self.arrived: Counter[str] = Counter()
        self._place = place
        self._chance = chance
        self._names: Iterator[str] = (f"member{number}" for number in itertools.count())

    async def run(self, kills: int) -> None:
        """Kill a busy bot, then let it come to rest with nobody helping it.

        Raises:
            AssertionError: something was not so for a moment that always must be.

        """
        unknown = await self._let_a_newer_release_write() if self.is_disturbed else {}
        crowd = [asyncio.create_task(self._come_and_go()) for _ in range(CROWD)]
        if self.is_disturbed:
            crowd.append(asyncio.create_task(self._disturb()))
        for _ in range(kills):
            bot = await self._start()
            assert not self.witness.never()
            await self.witness.kill(bot)
        for one in crowd:
            one.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)
        self._place.discord.faults.clear()
        if unknown:
            bot = await self._place.start()
            await self.come_to_rest(besides={user_id for user_id, _ in unknown.values()})
            await self.witness.kill(bot)
        for column, (user_id, known) in unknown.items():
            self._write(column, known, user_id)
        await self._place.start()

    async def come_to_rest(self, *, besides: Collection[int] = ()) -> None:
        """Wait until all is well with everybody but some members.

        Raises:
            AssertionError: no time will mend what is wrong.

        """
        complaints = await self.witness.all_is_well(besides=besides)
        assert not complaints, "\n".join([self.report(), str(complaints), *map(self.witness.story, complaints)])

    async def _let_a_newer_release_write(self) -> dict[str, tuple[int, str | None]]:
        """Put a word that this release does not know into three members' rows; return whose, and what was there."""
        bot, discord = await self._place.start(), self._place.discord
        self._place.choose_role()
        users = {column: self._place.join(column) for column in ("state", "reason", "shown_state")}
        for user in users.values():
            await discord.slash(user, "plexlink", guild=self._place.guild)
            await discord.until(lambda: any(says(card) == "pending" for card in discord.dm(user)), what="a code")  # noqa: B023 - called here
        # Whose message is not committed yet would get another one when its row is read again, minutes later.
        assert not await self.witness.all_is_well()
        await self.witness.kill(bot)
        rows = {row["user_id"]: row for row in Books.read(self._place).attempts.values()}
        for column, user in users.items():
            self._write(column, WORD_OF_A_NEWER_RELEASE, user.id)
        return {column: (user.id, rows[user.id][column]) for column, user in users.items()}

    def _write(self, column: str, word: str | None, user_id: int) -> None:
        path = self._place.data_dir / "plexlink.sqlite3"
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(f"UPDATE plexlink_attempts SET {column} = ? WHERE user_id = ?", (word, user_id))  # noqa: S608 - ours

    async def _start(self) -> BotProcess:
        """Start a process and let it live for a while, which may end before it is there."""
        arguments = DISTURBED_RUN if self.is_disturbed else RUN
        if self._chance.random() < SHARE_OF_STARTS:
            bot = await self._place.spawn(arguments=arguments)
            await asyncio.sleep(self._chance.uniform(0, STARTS_WITHIN_SECONDS))
        else:
            bot = await self._place.start(arguments=arguments)
            await asyncio.sleep(self._chance.uniform(0, LIVES_SECONDS))
        return bot

    async def _disturb(self) -> None:
        """Let Discord do what it is asked and answer that it did not, or break off, or do nothing."""
        while True:
            await asyncio.sleep(self._chance.uniform(0.1, 0.5))
            if sum(fault.times for fault in self._place.discord.faults) >= MOST_FAULTS_WAITING:
                continue  # on a slow machine nothing would ever come through
            path = self._chance.choice(["/channels/*", "/webhooks/*", "/interactions/*"])
            is_done = self._chance.random() < SHARE_OF_DONE
            self._place.discord.fail("*", path, self._chance.choice([500, 0]), before=not is_done)

    async def _come_and_go(self) -> None:
        """Be one member after the other: nobody may ask for more than five codes."""
        while True:
            goal = self._chance.choice(list(Goal))
            is_closed = self._chance.random() < SHARE_OF_CLOSED
            member = Member(self.witness, next(self._names), goal, closed=is_closed)
            with suppress(TimeoutError):
                async with asyncio.timeout(MEMBER_LIVES_SECONDS):
                    await member.live()
            self.arrived[goal if member.has_arrived() else "on the way"] += 1

    def report(self) -> str:
        """Say what there was to be lost."""
        read = sum(approval.pin.token_reads > 0 for approval in self.witness.approvals.values())
        return (
            f"{len(self.witness.stops)} kills; members: {dict(self.arrived)}; {len(self.witness.approvals)} approvals, "
            f"{read} tokens handed out, {len(self.witness.lost())} of them in flight at a kill; "
            f"{len(self.witness.unanswered)} commands acknowledged, but not committed at a kill"
        )


@pytest.mark.timeout(600 + 2 * SECONDS_A_KILL * KILLS)
@pytest.mark.parametrize(
    ("token_reads", "weather"),
    [(None, "fair"), (1, "fair"), (None, "foul")],
    ids=["token can be read again", "token can be read once", "Discord and the database fail as well"],
)
async def test_nothing_is_lost_whenever_the_bot_is_killed(
    tmp_path: Path, token_reads: int | None, weather: str
) -> None:
    async with deployment(tmp_path, **CROWDED) as place:
        place.plex.token_reads = token_reads
        chance = random.Random(f"{SEED} {token_reads}")  # noqa: S311 - it shall be foreseeable
        busy = BusyRun(place, chance, is_disturbed=weather == "foul")
        await busy.run(KILLS)
        await busy.come_to_rest()
        print(busy.report())  # noqa: T201 - for whoever runs it with -s
