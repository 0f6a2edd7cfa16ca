"""Three processes on one PostgreSQL, any of which is stopped, killed or frozen at any moment: nothing is lost.

`make proof` strikes a few times. PLEXLINK_KILLS=200 makes it a long run, PLEXLINK_SEED another one.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from typing import TYPE_CHECKING

import pytest

from postgres import a_server
from processes import deployment
from test_random_kills import CROWD, CROWDED, KILLS, LIVES_SECONDS, SEED, BusyRun

if TYPE_CHECKING:
    from pathlib import Path

    from processes import BotProcess

SHARDS = ("0/2", "1/2", "none")
RATE = 40
CROWDED_BY_MANY = {**CROWDED, "PLEXLINK_PLEX_RATE": str(RATE)}
FROZEN_SECONDS = (1.0, 25.0)
"""Shorter and longer than a lease."""

WINDOW_SECONDS = 10.0
MOST_OF_THE_RATE = 1.2
SECONDS_A_BLOW = 60


class BusyCluster(BusyRun):
    """Members who come and go, and processes that are struck one after the other."""

    async def run(self, kills: int) -> None:
        """Strike a busy cluster, then let it come to rest with nobody helping it."""
        processes = {shards: await self._process(shards) for shards in SHARDS}
        self._place.choose_role()
        crowd = [asyncio.create_task(self._come_and_go()) for _ in range(CROWD)]
        for _ in range(kills):
            await asyncio.sleep(self._chance.uniform(0, LIVES_SECONDS))
            shards = self._chance.choice(SHARDS)
            how = self._chance.choice([self._stop, self._kill, self._freeze])
            await how(processes[shards])
            if not processes[shards].is_running:
                processes[shards] = await self._process(shards)
            assert not self.witness.never()
        for one in crowd:
            one.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)

    async def _process(self, shards: str) -> BotProcess:
        if shards != "none":
            return await self._place.start(PLEXLINK_SHARDS=shards)
        standby = await self._place.spawn(PLEXLINK_SHARDS=shards)
        await standby.logged("bot.standing_by")
        return standby

    async def _stop(self, process: BotProcess) -> None:
        assert await process.terminate() == 0
        self.witness.stopped()

    async def _kill(self, process: BotProcess) -> None:
        await self.witness.kill(process)

    async def _freeze(self, process: BotProcess) -> None:
        os.kill(process.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(self._chance.uniform(*FROZEN_SECONDS))
        finally:
            os.kill(process.pid, signal.SIGCONT)

    def most_requests(self) -> int:
        """Return how many requests plex.tv saw at most in a window of time."""
        times = sorted(call.at.timestamp() for call in self._place.plex.requests)
        return max((sum(first <= at < first + WINDOW_SECONDS for at in times) for first in times), default=0)


@pytest.mark.timeout(900 + SECONDS_A_BLOW * KILLS)
async def test_nothing_is_lost_whichever_process_is_struck(tmp_path: Path) -> None:
    with a_server() as server:
        async with deployment(tmp_path, server.database(), **CROWDED_BY_MANY) as place:
            cluster = BusyCluster(place, random.Random(f"{SEED} handover"))  # noqa: S311 - it shall be foreseeable
            await cluster.run(KILLS)
            await cluster.come_to_rest()
            assert cluster.most_requests() <= MOST_OF_THE_RATE * RATE * WINDOW_SECONDS
            print(cluster.report())  # noqa: T201 - for whoever runs it with -s
