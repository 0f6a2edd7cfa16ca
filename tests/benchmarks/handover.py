"""What several processes on one PostgreSQL do and cost: how soon another one works, and what a front's command takes.

Three processes, of which two stand by for the work alone, and three hundred members with a code, some of whom approve
all the time. The one that works is stopped, killed or frozen, again and again.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import statistics
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from plexlink_bot.sandbox.plex_tv import ALICE
from postgres import a_server
from processes import WAITING, code_of, deployment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from postgres import Server
    from processes import BotProcess, Deployment
    from small_discord import User

MEMBERS = 300
STRIKES = 10
RATE = 40
APPROVALS_APART_SECONDS = 0.4
WINDOW_SECONDS = 10.0
REST_SECONDS = 60.0
WAYS = {"SIGTERM": signal.SIGTERM, "SIGKILL": signal.SIGKILL, "SIGSTOP": signal.SIGSTOP}


@dataclass
class Cluster:
    """Processes of which one works, and members who approve one after the other."""

    place: Deployment
    processes: dict[str, BotProcess] = field(default_factory=dict)
    worker: str = ""
    waits: list[float] = field(default_factory=list)

    async def start(self) -> None:
        """Start two that stand by, the first of which works, and the front."""
        for name in ("first", "second", "front"):
            await self._start(name)
        self.worker = "first"
        await self.processes["first"].logged("tenure.begun")

    async def _start(self, name: str) -> None:
        if name == "front":
            self.processes[name] = await self.place.start(PLEXLINK_SHARDS="0/1")
        else:
            self.processes[name] = await self.place.spawn(PLEXLINK_SHARDS="none")
            await self.processes[name].logged("bot.standing_by")

    async def approve(self, users: list[User]) -> None:
        """Let members approve, one after the other, each when the one before has been told."""
        for user in users:
            card = await self.place.card_saying(WAITING, user=user)
            self.place.plex.approve(code_of(card), replace(ALICE, id=user.id, uuid=f"{user.id:016x}"))
            began = time.monotonic()
            await self.place.card_saying("Linked as", user=user)
            self.waits.append(time.monotonic() - began)
            await asyncio.sleep(APPROVALS_APART_SECONDS)

    async def strike(self, how: signal.Signals, chance: random.Random) -> float:
        """Take the one that works from the others; return after how long another one does."""
        await asyncio.sleep(chance.uniform(0, 6))
        struck, process = self.worker, self.processes[self.worker]
        others = {name: other for name, other in self.processes.items() if name != struck}
        waiting = {
            asyncio.create_task(other.logged("tenure.begun", times=other.log.count("tenure.begun") + 1), name=name)
            for name, other in others.items()
        }
        began = time.monotonic()
        os.kill(process.pid, how)
        done, late = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        took = time.monotonic() - began
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        self.worker = done.pop().get_name()
        if how is signal.SIGSTOP:
            os.kill(process.pid, signal.SIGCONT)
            await process.logged("tenure.lost")
            await process.terminate()
        else:
            await process.wait()
        await self._start(struck)
        return took

    def most_requests(self) -> int:
        """Return how many requests plex.tv saw at most in ten seconds."""
        times = [call.at.timestamp() for call in self.place.plex.requests]
        return max(sum(first <= at < first + WINDOW_SECONDS for at in times) for first in times)


@asynccontextmanager
async def _cluster(*options: str) -> AsyncIterator[tuple[Cluster, Server]]:
    with tempfile.TemporaryDirectory() as folder, a_server("pginstall18", *options) as server:
        settings = {"PLEXLINK_PLEX_RATE": str(RATE), "PLEXLINK_MAX_PENDING": "1000"}
        async with deployment(Path(folder), server.database(), **settings) as place:
            cluster = Cluster(place)
            await cluster.start()
            yield cluster, server


async def hand_over(name: str) -> dict[str, float]:
    """Strike ten times; return how long it took, and how soon members were told meanwhile."""
    chance = random.Random(name)  # noqa: S311 - it shall be foreseeable
    async with _cluster() as (cluster, _):
        users = [cluster.place.join(f"member{number}") for number in range(MEMBERS)]
        await asyncio.gather(*(cluster.place.plexlink(user) for user in users))
        for user in users:
            await cluster.place.card_saying(WAITING, user=user)
        approving = asyncio.create_task(cluster.approve(users))
        took = [await cluster.strike(WAYS[name], chance) for _ in range(STRIKES)]
        approving.cancel()
        await asyncio.gather(approving, return_exceptions=True)
        return {
            "mean": statistics.fmean(took),
            "worst": max(took),
            "told": statistics.fmean(cluster.waits),
            "told_worst": max(cluster.waits),
            "links": len(cluster.waits),
            "most": cluster.most_requests() / (RATE * WINDOW_SECONDS),
        }


async def cost() -> dict[str, float]:
    """Return what one /plexlink of a front is for the database, and what three processes are at rest."""
    async with _cluster("-c", "log_statement=all") as (cluster, server):
        place = cluster.place
        await place.waiting_card(place.join("first"))  # prepares what is prepared once
        before = _statements(server)
        await place.waiting_card(place.join("second"))
        command = _statements(server) - before
        before = _statements(server)
        await asyncio.sleep(REST_SECONDS)
        return {"command": command, "rest": (_statements(server) - before) / 3}


async def starts(processes: int, *, is_file: bool) -> dict[str, float]:
    """Let many begin at once, in servers of all shards; return the codes a second, and how soon each was deferred."""
    with tempfile.TemporaryDirectory() as folder, a_server() as server:
        database = None if is_file else server.database()
        settings = {"PLEXLINK_PLEX_RATE": "1000", "PLEXLINK_MAX_PENDING": "5000"}
        async with deployment(Path(folder), database, **settings) as place:
            guilds = {(place.guild.id >> 22) % processes: place.guild}
            while len(guilds) < processes:
                guild = place.discord.add_guild("another", [])
                guilds.setdefault((guild.id >> 22) % processes, guild)
            for number in range(processes):
                await place.start(PLEXLINK_SHARDS=f"{number}/{processes}")
            users = [place.discord.add_user(f"member{number}") for number in range(MEMBERS)]
            for number, user in enumerate(users):
                guilds[number % processes].members.append(user)
            began = time.monotonic()
            commands = await asyncio.gather(
                *(
                    place.discord.slash(user, "plexlink", guild=guilds[number % processes])
                    for number, user in enumerate(users)
                )
            )
            for user in users:
                await place.card_saying(WAITING, user=user)
            took = time.monotonic() - began
            defers = [
                (each.response.created_at - each.created_at).total_seconds() for each in commands if each.response
            ]
            return {"a_second": MEMBERS / took, "defer": statistics.median(defers), "defer_worst": max(defers)}


def _statements(server: Server) -> int:
    log = (server.folder / "log").read_text(errors="replace")
    return sum("LOG:  execute" in line or "LOG:  statement" in line for line in log.splitlines())
