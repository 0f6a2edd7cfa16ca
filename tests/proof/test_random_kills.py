"""A busy bot is killed at random moments, start-up included, and started again at once; nothing is lost.

`make test` kills it a few times. PLEXLINK_KILLS=200 makes it a long run, PLEXLINK_SEED another one.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from busy_members import Goal, Member
from invariants import Witness
from processes import deployment

if TYPE_CHECKING:
    from collections.abc import Iterator
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


class BusyRun:
    """Members who come and go, and a bot that is killed again and again."""

    def __init__(self, place: Deployment, chance: random.Random) -> None:
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
        crowd = [asyncio.create_task(self._come_and_go()) for _ in range(CROWD)]
        for _ in range(kills):
            bot = await self._start()
            assert not self.witness.never()
            await self.witness.kill(bot)
        for one in crowd:
            one.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)
        await self._place.start()

    async def _start(self) -> BotProcess:
        """Start a process and let it live for a while, which may end before it is there."""
        if self._chance.random() < SHARE_OF_STARTS:
            bot = await self._place.spawn()
            await asyncio.sleep(self._chance.uniform(0, STARTS_WITHIN_SECONDS))
        else:
            bot = await self._place.start()
            await asyncio.sleep(self._chance.uniform(0, LIVES_SECONDS))
        return bot

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
@pytest.mark.parametrize("token_reads", [None, 1], ids=["token can be read again", "token can be read once"])
async def test_nothing_is_lost_whenever_the_bot_is_killed(tmp_path: Path, token_reads: int | None) -> None:
    async with deployment(tmp_path, **CROWDED) as place:
        place.plex.token_reads = token_reads
        busy = BusyRun(place, random.Random(f"{SEED} {token_reads}"))  # noqa: S311 - it shall be foreseeable
        await busy.run(KILLS)
        complaints = await busy.witness.all_is_well()
        print(busy.report())  # noqa: T201 - pytest shows it where the test fails, and with -s
        assert not complaints
