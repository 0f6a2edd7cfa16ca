"""Three processes on one PostgreSQL, and all that takes the work from one of them or the database from all.

    async with a_cluster() as cluster:
        name, took = await cluster.kill()

Two of the three stand by for the work alone, the third is the front. What happens to them is what happens to machines
and networks: a process is killed or frozen, packets are dropped, a database is lost to a replica that lacks something.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import machines
from invariants import Witness
from plexlink_bot.sandbox.plex_tv import ALICE
from postgres import NEWEST, PostgresDatabase, a_server
from processes import WAITING, deployment
from small_proxy import SmallProxy
from wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from machines import Machine
    from plexlink_bot.sandbox.plex_tv import PlexTV
    from postgres import Server
    from processes import BotProcess, Deployment
    from small_discord import User

NAMES = ("first", "second", "front")
RATE = 40
APPROVALS_APART_SECONDS = 0.4
STRIKES_APART_SECONDS = 6.0
LOST_SECONDS = 1.0
TRUE_WITHIN_SECONDS = 30.0
WINDOW_SECONDS = 10.0


@dataclass
class Cluster:
    """Processes of which one works, and members who approve one after the other."""

    place: Deployment
    server: Server
    wire: Wire
    """All but machines of their own reach the database by it."""
    machines: Mapping[str, tuple[Machine, SmallProxy]] = field(default_factory=dict)
    processes: dict[str, BotProcess] = field(default_factory=dict)
    approving: asyncio.Task[None] | None = None
    waits: list[float] = field(default_factory=list)
    frozen_seconds: float = 60.0
    away_seconds: float = 120.0

    def __post_init__(self) -> None:
        self.witness = Witness(self.place)

    async def start(self, name: str) -> None:
        """Start a process; those that stand by have no shards."""
        environment = {"PLEXLINK_SHARDS": "0/1" if name == "front" else "none"}
        within: tuple[str, ...] = ()
        host, port = "127.0.0.1", self.wire.port
        if name in self.machines:
            machine, proxy = self.machines[name]
            host, port, within = machine.host, self.server.port, tuple(machine.within)
            environment |= {"PLEXLINK_PROXY": proxy.url, "PLEXLINK_DISCORD_PROXY": proxy.url}
        assert self.place.database is not None
        database = self.place.database.url.rpartition("/")[2]
        environment["PLEXLINK_DATABASE_URL"] = f"postgresql://{self.place.database.user}@{host}:{port}/{database}"
        if name == "front":
            self.processes[name] = await self.place.start(within=within, **environment)
        else:
            self.processes[name] = await self.place.spawn(within=within, **environment)
            await self.processes[name].logged("bot.standing_by")

    async def approve(self, users: list[User]) -> None:
        """Let members approve, one after the other, each when the one before has been told."""
        for user in users:
            card = await self.place.card_saying(WAITING, user=user)
            self.witness.approve(card, replace(ALICE, id=user.id, uuid=f"{user.id:016x}"))
            began = time.monotonic()
            await self.place.card_saying("Linked as", user=user)
            self.waits.append(time.monotonic() - began)
            await asyncio.sleep(APPROVALS_APART_SECONDS)

    async def stop(self) -> float:
        """Stop the one that works."""
        name, took = await self._taken_over(lambda _, process: os.kill(process.pid, signal.SIGTERM))
        return await self._replaced(name, took)

    async def kill(self) -> float:
        """Kill the one that works."""
        name, took = await self._taken_over(lambda _, process: os.kill(process.pid, signal.SIGKILL))
        return await self._replaced(name, took)

    async def vanish(self) -> float:
        """Let the machine of the one that works be gone, and be there again when another one works."""

        def gone(name: str, process: BotProcess) -> None:
            self.machines[name][0].vanish()
            os.kill(process.pid, signal.SIGKILL)  # its connections stay open: nobody hears that they are closed

        name, took = await self._taken_over(gone)
        self.machines[name][0].come_back()
        return await self._replaced(name, took)

    async def cut_off(self) -> float:
        """Let nothing come to or from the machine of the one that works, which works on, for a while."""
        began = time.monotonic()
        name, took = await self._taken_over(lambda name, _: self.machines[name][0].vanish())
        await asyncio.sleep(began + self.frozen_seconds - time.monotonic())
        self.machines[name][0].come_back()
        return took

    async def freeze(self) -> float:
        """Freeze the one that works for a while."""
        began = time.monotonic()
        name, took = await self._taken_over(lambda _, process: os.kill(process.pid, signal.SIGSTOP))
        lost = self.processes[name].log.count("tenure.lost")
        await asyncio.sleep(began + self.frozen_seconds - time.monotonic())
        os.kill(self.processes[name].pid, signal.SIGCONT)
        await self.processes[name].logged("tenure.lost", times=lost + 1)
        return took

    async def restart_database(self) -> float:
        """Let the database crash, and start it again."""
        await asyncio.to_thread(self.server.stop, signal.SIGQUIT)
        await asyncio.to_thread(self.server.start)
        return await self._told_again()

    async def cut_database(self) -> float:
        """Let nobody reach the database for a while."""
        self.wire.cut()
        await asyncio.sleep(self.away_seconds)
        self.wire.mend()
        return await self._told_again()

    async def fail_over(self) -> float:
        """Let the database crash, and a replica that lacks its last second be in its place."""
        async with Wire(self.server.port) as stream:
            replica = await asyncio.to_thread(self.server.replicate, stream.port)
            await asyncio.sleep(STRIKES_APART_SECONDS)
            stream.cut()
            await asyncio.sleep(LOST_SECONDS)
            await asyncio.to_thread(self.server.stop, signal.SIGQUIT)
            await asyncio.to_thread(replica.promote)
        former, self.server = self.server, replica
        self.wire.lead_to(replica.port)
        assert self.place.database is not None
        self.place.database = PostgresDatabase(
            replica, self.place.database.url.replace(f":{former.port}/", f":{replica.port}/")
        )
        return await self._told_again()

    async def _taken_over(self, strike: Callable[[str, BotProcess], None]) -> tuple[str, float]:
        """Strike the one that works; return which one it was, and after how many seconds another one works."""
        name = await self._worker()
        others = {other: process for other, process in self.processes.items() if other != name}
        waiting = [
            asyncio.create_task(process.logged("tenure.begun", times=process.log.count("tenure.begun") + 1))
            for process in others.values()
        ]
        began = time.monotonic()
        strike(name, self.processes[name])
        done, late = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        took = time.monotonic() - began
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await asyncio.gather(*done)
        return name, took

    async def _replaced(self, name: str, took: float) -> float:
        """Start another process in the place of one that has ended."""
        await self.processes[name].wait()
        self.witness.stopped()
        await self.start(name)
        return took

    async def worker(self) -> BotProcess:
        """Return the process that works, when it is one."""
        return self.processes[await self._worker()]

    async def _worker(self) -> str:
        """Return the name of the one that works, when it is one."""
        while len(working := [name for name, process in self.processes.items() if _works(process)]) != 1:  # noqa: ASYNC110 - logs
            await asyncio.sleep(0.1)
        return working[0]

    async def _told_again(self) -> float:
        """Return after how many seconds the next member is told that they are linked, if one still approves."""
        began, before = time.monotonic(), len(self.waits)
        assert self.approving is not None
        while len(self.waits) == before and not self.approving.done():  # noqa: ASYNC110 - a measurement
            await asyncio.sleep(0.02)
        return time.monotonic() - began


def most_of_the_rate(plex: PlexTV) -> float:
    """Return how many requests plex.tv saw at most in ten seconds, as a share of what the rate allows."""
    times = sorted(call.at.timestamp() for call in plex.requests)
    most = max(bisect_left(times, first + WINDOW_SECONDS) - index for index, first in enumerate(times))
    return most / (RATE * WINDOW_SECONDS)


def _works(process: BotProcess) -> bool:
    ended = max(process.log.rfind(end) for end in ("tenure.lost", "tenure.given_back"))
    return process.is_running and process.log.rfind("tenure.begun") > ended


Way = Callable[[Cluster], Awaitable[float]]

WAYS: dict[str, Way] = {
    "is stopped": Cluster.stop,
    "is killed": Cluster.kill,
    "is frozen": Cluster.freeze,
    "vanishes with its machine": Cluster.vanish,
    "is cut off": Cluster.cut_off,
}
"""How the one that works is taken from the others."""

DATABASE_WAYS: dict[str, Way] = {
    "crashes and is started": Cluster.restart_database,
    "is out of reach": Cluster.cut_database,
    "is replaced by a replica that lacks a second": Cluster.fail_over,
}
ON_MACHINES = {Cluster.vanish, Cluster.cut_off}
"""For these the processes have machines of their own, which not every system lets us make."""


@asynccontextmanager
async def a_cluster(*options: str, on_machines: bool = False, **fields: float) -> AsyncIterator[Cluster]:
    """Give three processes, one of which works; `options` are PostgreSQL's, `fields` the cluster's."""
    async with AsyncExitStack() as stack:
        each_its_own = {}
        for name in NAMES if on_machines else ():
            machine = stack.enter_context(machines.a_machine())
            each_its_own[name] = machine, await stack.enter_async_context(SmallProxy(host=machine.host))
        hosts = ",".join(["127.0.0.1", *(machine.host for machine, _ in each_its_own.values())])
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(a_server(NEWEST, "-c", f"listen_addresses={hosts}", *options))
        wire = await stack.enter_async_context(Wire(server.port))
        settings = {"PLEXLINK_PLEX_RATE": str(RATE), "PLEXLINK_MAX_PENDING": "1000"}
        place = await stack.enter_async_context(deployment(Path(folder), server.database(), **settings))
        cluster = Cluster(place, server, wire, each_its_own, **fields)
        stack.callback(lambda: cluster.server.stop(signal.SIGQUIT))  # a replica, by then
        for name in NAMES:
            await cluster.start(name)
        yield cluster


@dataclass(frozen=True)
class Struck:
    """What became of it: how long each strike took, how soon members were told, and the most questions a second."""

    took: list[float]
    waits: list[float]
    most: float
    """As a share of the rate, over ten seconds."""


async def strike_again_and_again(way: Way, *, members: int, strikes: int, **fields: float) -> Struck:
    """Strike a cluster while members approve, one after the other; see that all is well in the end.

    Raises:
        AssertionError: something was lost, or a card is not true half a minute later.

    """
    chance = random.Random(way.__name__)  # noqa: S311 - it shall be foreseeable
    async with a_cluster(on_machines=way in ON_MACHINES, **fields) as cluster:
        users = [cluster.place.join(f"member{number}") for number in range(members)]
        await asyncio.gather(*(cluster.place.plexlink(user) for user in users))
        for user in users:
            await cluster.place.card_saying(WAITING, user=user)
        cluster.approving = approving = asyncio.create_task(cluster.approve(users))
        took = []
        for _ in range(strikes):
            await asyncio.sleep(chance.uniform(0, STRIKES_APART_SECONDS))
            took.append(await way(cluster))
            if approving.done():
                await approving
        approving.cancel()
        await asyncio.gather(approving, return_exceptions=True)
        wrong = await cluster.witness.all_is_well(TRUE_WITHIN_SECONDS)
        assert not wrong, "\n".join([str(wrong), *map(cluster.witness.story, wrong)])
        return Struck(took, cluster.waits, most_of_the_rate(cluster.place.plex))
