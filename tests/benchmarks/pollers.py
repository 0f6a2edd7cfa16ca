"""One client that polls for many members, measured from inside: run as a process of its own by `polling.py`.

    python pollers.py plexlink|plexapi|sessions cpu|memory|faults URL MEMBERS

It prints what it measured as JSON. Every client asks about each code at the same interval, so that a poll of one can
be compared with a poll of another: plexapi's is `POLLINTERVAL`, PlexLink's the least that its order allows.
"""

# ruff: noqa: ASYNC110, T201, S310 - a script prints, asks the stand-in on loopback, and looks now and then

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

WARMING_UP = 10
POLLS = 1000
POLLS_A_SECOND = 300.0
FAULTY_POLLS_A_SECOND = 80.0
FAULT_POLLS = 35
"""A member who takes 35 polls to approve: with plexapi's interval of a second about the median of what people take."""


def resident_kilobytes() -> float:
    """Return the memory that this process holds, after all that can be has been given back."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def connections() -> int:
    """Return how many TCP connections this process has open."""
    names = [str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    inodes = {name[8:-1] for name in names if name.startswith("socket:")}
    lines = Path("/proc/self/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return sum(1 for line in lines if line.split()[9] in inodes and line.split()[3] == "01")


def control(url: str, what: str) -> Any:
    """Tell the stand-in's process something, or ask it: how many polls it got, or to approve all codes."""
    with urllib.request.urlopen(f"{url}/bench/{what}") as answer:
        return json.load(answer)


class Measures:
    """What is measured of one client, whatever it is made of."""

    def __init__(self, url: str, members: int, mode: str) -> None:
        self.url = url
        self.members = members
        self.interval = members / (FAULTY_POLLS_A_SECOND if mode == "faults" else POLLS_A_SECOND)
        self.found: dict[str, float] = {}

    def at_rest(self) -> None:
        """Note the memory before anybody comes."""
        self.found["rest_kilobytes"] = resident_kilobytes()

    def with_all(self) -> None:
        """Note what each pending code adds."""
        grown = resident_kilobytes() - self.found["rest_kilobytes"]
        self.found["kilobytes_each"] = grown / self.members

    async def polls(self) -> None:
        """Note the CPU of the next thousand polls."""
        loop = asyncio.get_running_loop()
        first, began = await loop.run_in_executor(None, control, self.url, "polls"), time.process_time()
        wall, last = time.perf_counter(), first
        while last - first < POLLS and time.perf_counter() - wall < 60:
            await asyncio.sleep(0.5)
            last = await loop.run_in_executor(None, control, self.url, "polls")
        self.found["cpu_seconds"] = (time.process_time() - began) / (last - first) * 1000
        self.found["polls_a_second"] = (last - first) / (time.perf_counter() - wall)
        self.found["connections"] = connections()

    def all_approve(self) -> None:
        """Approve all codes after as many polls as a member takes."""
        time.sleep(FAULT_POLLS * self.interval)
        control(self.url, "approve")


async def plexlink(measures: Measures, mode: str) -> None:
    """Measure the plugin, everything durable."""
    from plexlink.work import agenda, asker, order  # noqa: PLC0415 - the other clients shall not load it
    from plugin import plugin, start, worker_of  # noqa: PLC0415

    order.AGAIN_AFTER_SECONDS = order._AT_LATEST_SECONDS = asker.ASKED_AGAIN_SECONDS = measures.interval
    order.FIRST_AFTER_SECONDS = 600.0 if mode == "memory" else measures.interval
    agenda.Agenda.retry.__kwdefaults__["first_seconds"] = measures.interval  # type: ignore[index]
    with tempfile.TemporaryDirectory() as folder:
        async with plugin(Path(folder), measures.url, rate=1000.0) as desk:
            worker = worker_of(desk)
            cards = Cards(worker)
            for member in range(WARMING_UP):  # what is loaded and cached at the first use is not a member's
                await start(desk, 10**9 + member)
            await cards.are_out(WARMING_UP)
            if mode == "cpu":
                await asyncio.sleep(2 * measures.interval)  # nor are the first connections
            measures.at_rest()
            for begin in range(0, measures.members, 50):
                batch = range(begin, min(begin + 50, measures.members))
                await asyncio.gather(*(start(desk, member) for member in batch))
                await cards.are_out(WARMING_UP + batch.stop)
            await measured(measures, mode, lambda: unlinked(worker))


class Cards:
    """Count the cards with a code as they are committed: whoever reads all rows again and again is measured as well."""

    def __init__(self, worker: Any) -> None:
        self._out = 0
        worker._ledger._bell.listen(self._hear)

    def _hear(self, happened: object) -> None:
        self._out += getattr(happened, "shown_state", None) == "waiting"

    async def are_out(self, members: int) -> None:
        """Wait until so many are out."""
        while self._out < members:
            await asyncio.sleep(0.05)


def unlinked(worker: Any) -> int:
    """Return how many members are not linked yet, of all: those who came to warm up approve as well."""
    agenda = worker._agenda
    return len({key.id for key in (*agenda._planned, *agenda._running) if key.kind == "attempt"})


async def measured(measures: Measures, mode: str, left: Callable[[], int]) -> None:
    """Measure what the mode asks for, while the client polls."""
    measures.with_all()
    if mode == "cpu":
        await measures.polls()
    elif mode == "faults":
        await asyncio.get_running_loop().run_in_executor(None, measures.all_approve)
        await asyncio.sleep(FAULT_POLLS * measures.interval)
        measures.found["linked"] = 1 - left() / measures.members


async def plexapi(measures: Measures, mode: str) -> None:
    """Measure plexapi's sign-in with a PIN: a thread and a session for each."""
    from plexapi.myplex import MyPlexPinLogin  # noqa: PLC0415 - the other clients shall not load it

    threading.stack_size(0)
    MyPlexPinLogin.PINS = f"{measures.url}/api/v2/pins"
    MyPlexPinLogin.POLLINTERVAL = measures.interval
    first = MyPlexPinLogin()
    first.run(timeout=None)
    first.stop()
    measures.at_rest()
    logins = [MyPlexPinLogin() for _ in range(measures.members)]
    for login in logins:
        await asyncio.get_running_loop().run_in_executor(None, login.run, None, None)
    await asyncio.sleep(measures.interval)
    await measured(measures, mode, lambda: sum(1 for login in logins if not login.token))
    for login in logins:
        login._abort = True


async def sessions(measures: Measures, mode: str) -> None:
    """Measure a task for each code and a session for each request, as many bots do it."""
    import aiohttp  # noqa: PLC0415 - the other clients load their own

    headers = {"Accept": "application/json", "X-Plex-Product": "Bench"}
    linked = 0

    async def call(method: str, path: str, identifier: str) -> Any:
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method, measures.url + path, headers={**headers, "X-Plex-Client-Identifier": identifier}
            ) as answer,
        ):
            return await answer.json()

    async def log_in(identifier: str) -> None:
        nonlocal linked
        pin = await call("POST", "/api/v2/pins", identifier)
        while not pin["authToken"]:
            await asyncio.sleep(measures.interval)
            pin = await call("GET", f"/api/v2/pins/{pin['id']}", identifier)
        linked += 1

    first = asyncio.create_task(log_in("first"))
    await asyncio.sleep(2 * measures.interval)
    first.cancel()
    measures.at_rest()
    async with tasks(log_in, measures.members):
        await asyncio.sleep(2 * measures.interval)
        await measured(measures, mode, lambda: measures.members - linked)


@asynccontextmanager
async def tasks(log_in: Any, members: int) -> AsyncIterator[None]:
    """Run a task a member."""
    running = []
    for member in range(members):
        running.append(asyncio.create_task(log_in(f"{member}")))
        await asyncio.sleep(0.005)
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def main() -> None:
    """Measure one client."""
    client, mode, url, members = sys.argv[1:]
    measures = Measures(url, int(members), mode)
    asyncio.run({"plexlink": plexlink, "plexapi": plexapi, "sessions": sessions}[client](measures, mode))
    print(json.dumps(measures.found), flush=True)
    os._exit(0)  # plexapi's threads sleep on


if __name__ == "__main__":
    main()
