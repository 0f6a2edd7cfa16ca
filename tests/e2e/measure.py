"""Measure the process: start-up, memory, CPU and durable commits of a /plexlink. Run: python tests/e2e/measure.py

Linux only (/proc). Discord and plex.tv are played on loopback by this script, in a process of their own; the CPU
is the bot's alone. Figures are comparable within one run on one machine.
"""

# ruff: noqa: T201 - a script prints

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from processes import RUN, BotProcess, Deployment, deployment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from small_discord import User

ROUNDS = 5
MEMBERS = 50
IMPORTS = "import discord, sqlalchemy.ext.asyncio"
FAST = {"PLEXLINK_PLEX_RATE": "1000", "PLEXLINK_MAX_PENDING": "1000"}

COUNTING = """
from sqlalchemy import event
from sqlalchemy.engine import Engine

changes = {}

@event.listens_for(Engine, "commit")
def committed(connection):
    driver = connection.connection.driver_connection
    if driver.total_changes > changes.get(driver, 0):
        changes[driver] = driver.total_changes
        print("durable commit", flush=True)

from plexlink_bot.cli import main
main()
"""


@asynccontextmanager
async def fresh_deployment() -> AsyncIterator[Deployment]:
    """Give surroundings in a folder that is deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        async with deployment(Path(folder), **FAST) as place:
            yield place


async def ready_bot(place: Deployment, *, arguments: Sequence[str] = RUN) -> BotProcess:
    """Start a bot and wait until it says that it is ready."""
    bot = await place.start(arguments=arguments)
    await bot.logged("bot.ready")
    return bot


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_megabytes(pid: int) -> float:
    """Return the memory that a process holds."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def import_seconds() -> float:
    """Return how long Python and the two heaviest libraries take to be there."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-W", "ignore", "-c", IMPORTS], check=True)  # noqa: S603  our own interpreter
    return time.perf_counter() - began


async def start_up() -> None:
    """Print the start-up time as a multiple of the imports', interleaved so that both meet the same machine."""
    imports, gateway, ready = [], [], []
    async with fresh_deployment() as place:
        await (await place.start()).terminate()  # makes the database, the key, the commands
        for _ in range(ROUNDS):
            imports.append(await asyncio.to_thread(import_seconds))
            began = time.perf_counter()
            bot = await place.start()
            gateway.append(time.perf_counter() - began)
            await bot.logged("bot.ready")
            ready.append(time.perf_counter() - began)
            rss = rss_megabytes(bot.pid)
            await bot.terminate()
    base = statistics.median(imports)
    print(f'{base:.2f} s  python -c "{IMPORTS}"')
    for times, what in ((gateway, "to the gateway, where commands are answered"), (ready, "to bot.ready")):
        print(f"{statistics.median(times):.2f} s  start-up {what}: {statistics.median(times) / base:.2f} times that")
    print(f"{rss:.0f} MB  RSS at rest after ready")


async def get_card(place: Deployment, member: User) -> None:
    """Let a member type /plexlink, and wait for the card and for the answer that points to it."""
    command = await place.plexlink(member)
    await place.card_saying("Your code:", user=member)
    await place.answer_saying(command, "I sent you a direct message")


async def cpu_of_links() -> None:
    """Print the bot's CPU per member: one after the other, then all at once, then from approval to the end."""
    async with fresh_deployment() as place:
        members = [place.discord.add_user(f"member{number}") for number in range(2 * MEMBERS + 1)]
        place.guild.members += members
        bot = await ready_bot(place)
        await get_card(place, members[0])  # imports that wait for their first use
        began = cpu_seconds(bot.pid)
        for member in members[1 : MEMBERS + 1]:
            await get_card(place, member)
        one_by_one = cpu_seconds(bot.pid)
        await asyncio.gather(*(get_card(place, member) for member in members[MEMBERS + 1 :]))
        at_once = cpu_seconds(bot.pid)
        for pin in place.plex.pins.values():
            place.plex.approve(pin.code)
        await place.discord.until(
            lambda: all("Your code:" not in place.discord.dm(member)[0].text for member in members),
            what="no card that waits",
        )
        ended = cpu_seconds(bot.pid)
        peak = rss_megabytes(bot.pid)
        asked = sum(1 for call in place.plex.requests if call.operation == "get_pin")
    print(f"{(one_by_one - began) / MEMBERS * 1000:.1f} ms  CPU of a /plexlink, {MEMBERS} one after the other")
    print(f"{(at_once - one_by_one) / MEMBERS * 1000:.1f} ms  CPU of a /plexlink, {MEMBERS} at once")
    print(f"{(ended - at_once) / len(members) * 1000:.1f} ms  CPU from approval to the last card, {asked} questions")
    print(f"{peak:.0f} MB  RSS afterwards")


async def commits_of_a_link() -> None:
    """Print how many transactions that changed something one link takes."""
    async with fresh_deployment() as place:
        bot = await ready_bot(place, arguments=("-c", COUNTING, "run"))
        before = bot.log.count("durable commit")
        await get_card(place, place.alice)
        place.plex.approve(place.pin().code)
        await place.card_saying("Linked as alice")
        await bot.terminate()
    print(f"{bot.log.count('durable commit') - before} durable commits for a whole link")


async def main() -> None:
    """Print everything."""
    await start_up()
    await cpu_of_links()
    await commits_of_a_link()


if __name__ == "__main__":
    asyncio.run(main())
