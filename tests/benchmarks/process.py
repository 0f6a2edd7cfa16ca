"""What the bot's process costs: start-up, memory, CPU of a /plexlink, durable commits. Linux only (/proc).

Discord and plex.tv are played on loopback by this process; the CPU is the bot's alone.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plexlink_bot.sandbox.plex_tv import Account
from processes import RUN, BotProcess, Deployment, deployment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from small_discord import User

IMPORTS = "import discord, sqlalchemy.ext.asyncio"
FAST = {"PLEXLINK_PLEX_RATE": "1000", "PLEXLINK_MAX_PENDING": "5000"}
MEMBERS = 200
LINKS = 1000
PATIENCE_SECONDS = 120.0
LEAST_HOLD_SECONDS = 0.005

WATCHED = """
import asyncio, json, signal, time
import aiosqlite, discord.state
from discord.webhook.async_ import AsyncWebhookAdapter

seen = {"holds": [], "first": None, "defers": [], "commits": []}

run = asyncio.Handle._run
def timed(handle):
    began = time.thread_time()
    run(handle)
    held = time.thread_time() - began
    if held > 0.005:
        owner = getattr(handle._callback, "__self__", None)
        task = owner.get_coro().__qualname__ if isinstance(owner, asyncio.Task) else ""
        seen["holds"].append((held, task or repr(handle)[:200]))
asyncio.Handle._run = timed

parse = discord.state.ConnectionState.parse_interaction_create
def arriving(self, data):
    if seen["first"] is None:
        seen["first"] = time.process_time()
    return parse(self, data)
discord.state.ConnectionState.parse_interaction_create = arriving
discord.state.AutoShardedConnectionState.parse_interaction_create = arriving

answer = AsyncWebhookAdapter.create_interaction_response
def answering(self, *args, **kwargs):
    seen["defers"].append(time.process_time() - seen["first"])
    return answer(self, *args, **kwargs)
AsyncWebhookAdapter.create_interaction_response = answering

script = aiosqlite.Connection.executescript
async def scripting(self, text):
    if "synchronous" in text:
        self.lasts = "FULL" in text
    return await script(self, text)
aiosqlite.Connection.executescript = scripting

commit = aiosqlite.Connection.commit
async def committing(self):
    before, began = self.total_changes, time.perf_counter()
    await commit(self)
    if before > getattr(self, "seen_changes", 0):
        self.seen_changes = before
        if getattr(self, "lasts", True):
            seen["commits"].append(time.perf_counter() - began)
aiosqlite.Connection.commit = committing

def report(*_):
    global seen
    seen["holds"] = sorted(seen["holds"], reverse=True)[:20]
    print("WATCHED " + json.dumps(seen), flush=True)
    seen = {"holds": [], "first": None, "defers": [], "commits": []}

signal.signal(signal.SIGUSR1, report)
from plexlink_bot.cli import main
main()
"""
"""The bot, which tells on SIGUSR1 what it saw since the last time: CPU to each defer, commits, long callbacks."""

BARE = """
import os
import discord
from discord.ext import commands

discord.http.Route.BASE = os.environ["PLEXLINK_DISCORD_API_URL"]

class Bot(commands.AutoShardedBot):
    async def setup_hook(self):
        await self.tree.sync()

bot = Bot(commands.when_mentioned, intents=discord.Intents(guilds=True))

@bot.tree.command(description="Answers")
async def plexlink(interaction: discord.Interaction) -> None:
    await interaction.response.defer(ephemeral=True)
    await interaction.edit_original_response(content="Here is the answer.")

bot.run(os.environ["DISCORD_TOKEN"], log_handler=None)
"""
"""The least that a bot can do for a command: it defers, and edits what it promised."""


@asynccontextmanager
async def fresh_deployment(**environment: str) -> AsyncIterator[Deployment]:
    """Give surroundings in a folder that is deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        async with deployment(Path(folder), **(environment or FAST)) as place:
            yield place


async def ready_bot(place: Deployment, *, arguments: Sequence[str] = RUN) -> BotProcess:
    """Start a bot and wait until it says that it is ready."""
    bot = await place.start(arguments=arguments)
    await bot.logged("bot.ready")
    return bot


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_megabytes(pid: int) -> float:
    """Return the memory that a process holds."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def import_seconds() -> tuple[float, float]:
    """Return how long Python and the two heaviest libraries take to be there, and their CPU."""
    program = f"import time; {IMPORTS}; print(time.process_time())"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, capture_output=True)  # noqa: S603 - our own interpreter
    return time.perf_counter() - began, float(done.stdout)


async def start_up() -> dict[str, float]:
    """Return the start-up time, and the imports' that it is a multiple of, one after the other."""
    async with fresh_deployment() as place:
        await (await place.start()).terminate()  # makes the database, the key, the commands
        imports, imports_cpu = await asyncio.to_thread(import_seconds)
        began = time.perf_counter()
        bot = await place.start()
        at_gateway = time.perf_counter() - began
        await bot.logged("bot.ready")
        ready = time.perf_counter() - began
        cpu, rss = cpu_seconds(bot.pid), rss_megabytes(bot.pid)
        await bot.terminate()
    return {
        "imports": imports,
        "gateway": at_gateway / imports,
        "ready": ready / imports,
        "ready_cpu": cpu / imports_cpu,
        "rest_megabytes": rss,
    }


async def get_card(place: Deployment, member: User) -> None:
    """Let a member type /plexlink, and wait for the card and for the answer that points to it."""
    command = await place.plexlink(member)

    def is_done() -> bool:
        answer, messages = command.answer, place.discord.dm(member)
        return answer is not None and "I sent you" in answer.text and any("Your code:" in one.text for one in messages)

    await place.discord.until(is_done, what="a card and the answer that points to it", timeout=PATIENCE_SECONDS)


async def bare() -> dict[str, float]:
    """Return what the least command costs, alone."""
    async with fresh_deployment() as place:
        bot = await place.start(arguments=("-c", BARE))

        async def ask() -> None:
            command = await place.plexlink()
            await place.discord.until(
                lambda: command.answer is not None and "Here is" in command.answer.content,
                what="an answer",
                timeout=PATIENCE_SECONDS,
            )

        await ask()
        began = cpu_seconds(bot.pid)
        for _ in range(MEMBERS):
            await ask()
        return {"bare_ms": (cpu_seconds(bot.pid) - began) / MEMBERS * 1000}


class Watch:
    """What the bot says of itself, part by part."""

    def __init__(self, bot: BotProcess) -> None:
        self._bot = bot
        self._reports = 0
        self._cpu = cpu_seconds(bot.pid)

    async def part(self) -> tuple[dict[str, Any], float]:
        """Return what was seen since the last part, and the CPU of it."""
        cpu = cpu_seconds(self._bot.pid) - self._cpu
        os.kill(self._bot.pid, signal.SIGUSR1)
        while self._bot.log.count("WATCHED") <= self._reports:  # noqa: ASYNC110 - a measurement
            await asyncio.sleep(0.05)
        self._reports += 1
        self._cpu = cpu_seconds(self._bot.pid)
        await asyncio.sleep(0.2)
        (line,) = [line for line in self._bot.log.splitlines() if "WATCHED" in line][-1:]
        return json.loads(line.partition("WATCHED ")[2]), cpu


async def links() -> dict[str, float]:
    """Return what a /plexlink costs alone and among 200 at once, and what a whole link commits."""
    async with fresh_deployment() as place:
        members = [place.join(f"member{number}") for number in range(MEMBERS + 21)]
        bot = await ready_bot(place, arguments=("-c", WATCHED, "run"))
        await get_card(place, members[0])  # imports that wait for their first use
        watch = Watch(bot)
        await watch.part()
        defers = []
        for member in members[1:21]:
            await get_card(place, member)
            seen, cpu = await watch.part()
            defers.append((seen["defers"][0], cpu))
        found = {
            "defer_alone_ms": sorted(defer for defer, _ in defers)[10] * 1000,
            "command_alone_ms": sum(cpu for _, cpu in defers) / 20 * 1000,
        }
        await asyncio.gather(*(get_card(place, member) for member in members[21:]))
        seen, cpu = await watch.part()
        found |= {
            "defer_at_once_ms": seen["defers"][-1] / len(seen["defers"]) * 1000,
            "command_at_once_ms": cpu / MEMBERS * 1000,
            "longest_step_ms": max((held for held, _ in seen["holds"]), default=LEAST_HOLD_SECONDS) * 1000,
        }
        await asyncio.sleep(3)  # what is still committed of the two hundred is not hers
        await watch.part()
        await get_card(place, place.alice)
        place.plex.approve(place.pin().code)
        await place.card_saying("Linked as alice")
        await asyncio.sleep(1)
        seen, _ = await watch.part()
        found |= {"commits": len(seen["commits"]), "commit_ms": sum(seen["commits"]) / len(seen["commits"]) * 1000}
    return found


async def memory_of_links() -> dict[str, float]:
    """Return the memory at rest, and after a thousand links."""
    async with fresh_deployment() as place:
        members = [place.join(f"linked{number}") for number in range(LINKS)]
        bot = await ready_bot(place)
        rest, began = rss_megabytes(bot.pid), cpu_seconds(bot.pid)
        for begin in range(0, LINKS, 50):
            batch = members[begin : begin + 50]
            await asyncio.gather(*(link(place, member) for member in batch))
        return {
            "rest_megabytes": rest,
            "linked_megabytes": rss_megabytes(bot.pid),
            "link_ms": (cpu_seconds(bot.pid) - began) / LINKS * 1000,
        }


async def link(place: Deployment, member: User) -> None:
    """Let a member link an account of their own."""
    await get_card(place, member)
    (card,) = place.discord.dm(member)
    place.plex.approve(card.text.partition("`")[2].partition("`")[0], _account_of(member))
    await _is_linked(place, member)


def _account_of(member: User) -> Account:
    return Account(id=member.id, uuid=f"{member.id:016x}", username=member.name, email="m@x.y")


async def _is_linked(place: Deployment, member: User) -> None:
    await place.discord.until(
        lambda: any("Linked as" in one.text for one in place.discord.dm(member)),
        what="a linked card",
        timeout=PATIENCE_SECONDS,
    )


ABANDONED = 14
COMERS = 30
COMERS_APART_SECONDS = 10.0


async def noticed() -> dict[str, float]:
    """Return how soon approvals are noticed at one request a second, in real time, beside codes that nobody approves.

    Members come at an interval and approve after log-normal times with a median of 30 s and a sigma of 0.7.
    """
    chance = random.Random("noticed")  # noqa: S311 - a simulation
    async with fresh_deployment(PLEXLINK_PLEX_RATE="1") as place:
        await ready_bot(place)
        for number in range(ABANDONED):
            await get_card(place, place.join(f"abandoned{number}"))
        await asyncio.sleep(120)  # they are no newcomers any more
        comers = []
        for number in range(COMERS):
            takes = 30.0 * math.exp(0.7 * chance.gauss())
            comers.append(asyncio.create_task(_approving(place, place.join(f"comer{number}"), takes)))
            await asyncio.sleep(COMERS_APART_SECONDS)
        delays = await asyncio.gather(*comers)
    return {"mean": statistics.fmean(delays), "worst": max(delays)}


async def _approving(place: Deployment, member: User, takes: float) -> float:
    """Let a member approve after a time; return how many seconds later plex.tv was asked."""
    await get_card(place, member)
    (card,) = place.discord.dm(member)
    pin = place.plex.pin(card.text.partition("`")[2].partition("`")[0])
    await asyncio.sleep(takes)
    place.plex.approve(pin.code, _account_of(member))
    approved_at = datetime.now(UTC)
    await _is_linked(place, member)
    return min(
        (call.at - approved_at).total_seconds()
        for call in place.plex.requests
        if call.path.endswith(f"/pins/{pin.id}") and call.at >= approved_at
    )
