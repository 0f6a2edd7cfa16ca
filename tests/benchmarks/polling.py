"""What polling costs: PlexLink beside plexapi, and beside a session for each request and a task for each code."""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from plexlink_bot.sandbox.plex_tv import Account, CodeError, Operation, PlexTV, ServerError

if TYPE_CHECKING:
    from plexlink_bot.sandbox.plex_tv import Exchange

CLIENTS = ("plexlink", "plexapi", "sessions")
FAULTY_LOGINS = 40
SCRIPT = Path(__file__).with_name("pollers.py")


@dataclass(slots=True)
class Sometimes:
    """A fault that meets a share of the requests, and lets the others pass."""

    share: float
    chance: random.Random

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        if self.chance.random() < self.share:
            return await ServerError(503).answer(exchange)
        return (await exchange.right_answer()).response()


class CountingPlexTV(PlexTV):
    """The stand-in, which tells a measured client how often it was polled, and approves all codes on demand."""

    def _build(self) -> web.Application:
        app = super()._build()
        bench = web.Application()
        bench.add_routes([web.get("/polls", self._polls), web.get("/approve", self._approve)])
        app.router._resources.insert(0, app.add_subapp("/bench", bench))
        return app

    async def _polls(self, _: web.Request) -> web.Response:
        return web.json_response(sum(1 for call in self.requests if call.operation == Operation.GET_PIN))

    async def _approve(self, _: web.Request) -> web.Response:
        for number, pin in enumerate(list(self.pins.values())):
            account = Account(id=1000 + number, uuid=f"{number:016x}", username=f"u{number}", email=f"u{number}@x.y")
            try:
                self.approve(pin.code, account)
            except CodeError:
                continue
        return web.json_response(len(self.pins))


async def measure(client: str, mode: str, members: int, *, failing: float = 0.0, seed: int = 0) -> dict[str, float]:
    """Return what one client measured of itself."""
    async with CountingPlexTV() as plex:
        if failing:
            chance = random.Random(seed)  # noqa: S311 - a measurement
            plex.fail(Sometimes(failing, chance), calls=Operation.GET_PIN, times=None)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "ignore", str(SCRIPT), client, mode, plex.url, str(members),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        output, _ = await process.communicate()
    assert process.returncode == 0, f"{client} {mode} {members} ended with {process.returncode}"
    found: dict[str, float] = json.loads(output)
    return found


async def completed(client: str, failing: float, repetitions: int) -> float:
    """Return the share of logins that complete though a share of the polls fails."""
    runs = [measure(client, "faults", FAULTY_LOGINS, failing=failing, seed=seed) for seed in range(repetitions)]
    return statistics.fmean(found["linked"] for found in await asyncio.gather(*runs))
