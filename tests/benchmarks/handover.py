"""What several processes on one PostgreSQL cost, and how soon another one works when something is struck."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import machines
from cluster import DATABASE_WAYS, ON_MACHINES, WAYS, a_cluster, strike_again_and_again
from plexlink_bot.sandbox import plex_tv
from postgres import a_server
from processes import WAITING, deployment

if TYPE_CHECKING:
    from cluster import Way
    from postgres import Server

MEMBERS = 300
STRIKES = 10
AT_ONCE = 3
"""Clusters that are struck at the same time: they mostly wait."""

CODES_LIVE = timedelta(hours=2)
"""Longer than plex.tv's, so that there are as many at the end as at the beginning."""

REST_SECONDS = 60.0


async def hand_over(way: Way) -> dict[str, float]:
    """Strike a cluster ten times; return how long it took, and how soon members were told meanwhile."""
    plex_tv.SHORT_CODE_LIFE = CODES_LIVE
    struck = await strike_again_and_again(way, members=MEMBERS, strikes=STRIKES)
    return {
        "mean": statistics.fmean(struck.took),
        "worst": max(struck.took),
        "told": statistics.fmean(struck.waits),
        "told_worst": max(struck.waits),
        "links": len(struck.waits),
        "most": struck.most,
    }


async def all_ways() -> dict[str, dict[str, float]]:
    """Try all that this system lets us, a few at a time; return what was found of each."""
    tried = {name: way for name, way in (WAYS | DATABASE_WAYS).items() if machines.can_be() or way not in ON_MACHINES}
    turns = asyncio.Semaphore(AT_ONCE)

    async def in_turn(way: Way) -> dict[str, float]:
        async with turns:
            return await hand_over(way)

    found = await asyncio.gather(*map(in_turn, tried.values()))
    return dict(zip(tried, found, strict=True))


async def cost() -> dict[str, float]:
    """Return what one /plexlink of a front is for the database, and what three processes are at rest."""
    async with a_cluster("-c", "log_statement=all") as cluster:
        place, server = cluster.place, cluster.server
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
