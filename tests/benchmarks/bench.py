"""Measure everything and write RESULTS.md: `make bench`; `ARGS=--quick` repeats nothing and writes nothing.

Parts can be named: `make bench ARGS="orders polling"`; each is written in the place of its former figures, with the
date and the load of the machine. Linux only. Ratios can be compared between machines, figures only within one part.
"""

# ruff: noqa: T201 - a script prints

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import re
import statistics
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import cluster
import handover
import orders
import polling
import process
import roles
import scenes
import tokens
from real_run import run_for_real
from simulation import Scenario, by_gain, simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

RESULTS = Path(__file__).with_name("RESULTS.md")
REPETITIONS = 5
SEEDS = range(1, 6)


class Bench:
    """Repeat measurements, and know how often."""

    def __init__(self, *, is_quick: bool) -> None:
        self.repetitions = 1 if is_quick else REPETITIONS
        self.seeds = SEEDS[:2] if is_quick else SEEDS
        self.sizes = (10, 100) if is_quick else (10, 100, 1000)
        self.most = 1000 if is_quick else 10_000

    def medians(self, measure: Callable[[], Coroutine[object, object, dict[str, float]]]) -> dict[str, float]:
        """Measure again and again, and return the median of each figure."""
        found = defaultdict(list)
        for _ in range(self.repetitions):
            for name, value in asyncio.run(measure()).items():
                found[name].append(value)
        return {name: statistics.median(values) for name, values in found.items()}


def order_of_questions(bench: Bench) -> list[str]:
    """Compare the order of questions with others."""
    return ["## The order of questions", "", *ABOUT_ORDER, "", *orders.table(bench.seeds)]


def fair_shares(_: Bench) -> list[str]:
    """Let some eat of the budget, and look how the others fare."""
    return ["## Fair shares", "", *ABOUT_SHARES, "", *scenes.table()]


def real_thing(bench: Bench) -> list[str]:
    """Compare the plugin on a socket with the simulation."""
    lines = [
        "## The plugin does what the simulation says",
        "",
        "The same members meet the whole plugin, with its database, and the stand-in of plex.tv on a socket, in",
        "virtual time. The simulation lets each answer take 0.1 s; here it takes none.",
        "",
        "| members | simulated | on a socket | questions, simulated | on a socket |",
        "|---|---|---|---|---|",
    ]
    for load, presses in ((2, 0.0), (6, 0.0), (12, 0.0), (6, 0.7)):
        scenario = Scenario(load, presses=presses, hours=0.5)
        pairs = [(simulate(scenario, by_gain, seed), run_for_real(scenario, seed)) for seed in bench.seeds[:1]]
        simulated, real = ([*side] for side in zip(*pairs, strict=True))
        means = [statistics.fmean(one.mean for one in side) for side in (simulated, real)]
        asked = [sum(one.questions for one in side) for side in (simulated, real)]
        what = f"{load} starts a minute" + (", 70 % press" if presses else "")
        lines.append(f"| {what} | {means[0]:.2f} s | {means[1]:.2f} s | {asked[0]} | {asked[1]} |")
    return lines


def real_time(_: Bench) -> list[str]:
    """Let members of flesh and blood, as it were, meet the process in real time."""
    found = asyncio.run(process.noticed())
    return [
        "## The process, in real time",
        "",
        f"{process.ABANDONED} abandoned codes lie about; every {process.COMERS_APART_SECONDS:.0f} s somebody",
        "comes who approves as expected; one request a second. A fixed five seconds needed about 9 s, PlexLink 7.3 s",
        "before there was an order of questions.",
        "",
        "| an approval is noticed after | goal | at worst |",
        "|---|---|---|",
        f"| {found['mean']:.1f} s in the mean of {process.COMERS} | 4.0 s | {found['worst']:.1f} s |",
    ]


def cost_of_polling(bench: Bench) -> list[str]:
    """Compare what polls and pending codes cost."""
    lines = [
        "## What polling costs",
        "",
        *ABOUT_POLLING,
        "",
        "| codes | client | CPU s per 1,000 polls | beside plexapi | memory per code | connections |",
        "|---|---|---|---|---|---|",
    ]
    for members in bench.sizes:
        found = {
            client: bench.medians(lambda c=client, m=members: polling.measure(c, "cpu", m))  # type: ignore[misc]
            for client in polling.CLIENTS
        }
        for client, one in found.items():
            share = one["cpu_seconds"] / found["plexapi"]["cpu_seconds"]
            lines.append(
                f"| {members} | {NAMES[client]} | {one['cpu_seconds']:.2f} | {share:.2f} "
                f"| {one['kilobytes_each']:.1f} KB | {one['connections']:.0f} |"
            )
    most = asyncio.run(polling.measure("plexlink", "memory", bench.most))
    fewer, few = bench.sizes[-1], found["plexlink"]["kilobytes_each"]
    further = (bench.most * most["kilobytes_each"] - fewer * few) / (bench.most - fewer)
    lines.append(f"| {bench.most} (once) | PlexLink | | | {most['kilobytes_each']:.1f} KB | |")
    lines.append(f"| each beyond {fewer} (once) | PlexLink | | | {further:.1f} KB | |")
    lines += ["", FAULTS, ""]
    lines += ["| client | 1 % fail | 5 % fail |", "|---|---|---|"]
    for client in polling.CLIENTS:
        shares = [asyncio.run(polling.completed(client, failing, bench.repetitions)) for failing in (0.01, 0.05)]
        lines.append(f"| {NAMES[client]} | {shares[0]:.2f} | {shares[1]:.2f} |")
    return lines


def cost_of_the_process(bench: Bench) -> list[str]:
    """Measure the bot as a process."""
    up, links, bare = (bench.medians(part) for part in (process.start_up, process.links, process.bare))
    memory = asyncio.run(process.memory_of_links())
    rows = [
        ("start to the gateway, where commands are answered", f"{up['gateway']:.2f} times the imports", "1.3"),
        ("start to `bot.ready`", f"{up['ready']:.2f} times the imports ({up['imports']:.2f} s)", "1.5"),
        ("the same in CPU, which a busy machine does not change", f"{up['ready_cpu']:.2f} times the imports", "1.5"),
        ("memory at rest", f"{up['rest_megabytes']:.0f} MB", "80 MB"),
        (f"memory after {process.LINKS} links (once)", f"{memory['linked_megabytes']:.0f} MB", ""),
        ("own CPU from an interaction to its defer, alone", f"{links['defer_alone_ms']:.1f} ms", "3 ms"),
        (f"the same, {process.MEMBERS} at once, each", f"{links['defer_at_once_ms']:.1f} ms", "3 ms"),
        ("own CPU of one `/plexlink`, alone", f"{links['command_alone_ms']:.0f} ms", "20 ms"),
        (f"the same, {process.MEMBERS} at once, each", f"{links['command_at_once_ms']:.0f} ms", "20 ms"),
        (
            "one `/plexlink` beside a bare discord.py command that defers and edits",
            f"{links['command_alone_ms'] / bare['bare_ms']:.1f} times its {bare['bare_ms']:.1f} ms",
            "12 times",
        ),
        ("own CPU of a whole link, 50 at once, each (once)", f"{memory['link_ms']:.0f} ms", ""),
        ("longest step that holds the event loop, 200 at once", f"{links['longest_step_ms']:.0f} ms", "20 ms"),
        ("commits of a link that wait for the disk", f"{links['commits']:.0f}", "5"),
        ("time of one", f"{links['commit_ms']:.1f} ms", ""),
    ]
    lines = ["## What the process costs", "", *ABOUT_PROCESS, "", "| what | measured | goal |", "|---|---|---|"]
    return lines + [f"| {what} | {value} | {goal} |" for what, value, goal in rows]


def tokens_for_other_code(bench: Bench) -> list[str]:
    """Measure `token_for`."""
    lines = [
        "## Tokens for other code",
        "",
        "`token_for` among 1,000 links; a token goes out when its use is committed to the audit. The goal is 1,000.",
        "",
        "| callers at once | calls a second | CPU of one |",
        "|---|---|---|",
    ]
    for at_once in (1, 10, 100):
        found = bench.medians(lambda n=at_once: tokens.measure(n))  # type: ignore[misc]
        lines.append(f"| {at_once} | {found['calls_a_second']:.0f} | {found['cpu_ms']:.2f} ms |")
    return lines


def roles_for_many(bench: Bench) -> list[str]:
    """Measure a thousand roles."""
    found = bench.medians(roles.measure)
    costs = [f"{roles.MEMBERS / found['seconds']:.0f}", f"{found['cpu_ms']:.1f} ms"]
    return [
        "## A thousand roles at once",
        "",
        *ABOUT_ROLES,
        "",
        "| members a second | CPU of one | requests that look | requests that give |",
        "|---|---|---|---|",
        f"| {' | '.join(costs)} | {found['looks']:.0f} | {found['grants']:.0f} |",
    ]


def several_processes(_: Bench) -> list[str]:
    """Take the one that works from three processes, again and again."""
    lines = [
        "## Several processes",
        "",
        *ABOUT_SEVERAL,
        "",
        *HEADS_OF_HAND_OVERS,
    ]
    found = asyncio.run(handover.all_ways())
    for name, one in found.items():
        who = "the database" if name in cluster.DATABASE_WAYS else "the one that works"
        times = [f"{one[key]:.1f} s" for key in ("mean", "worst", "told", "told_worst")]
        lines.append(f"| {who} {name} | {' | '.join(times)} | {one['links']:.0f} |")
    most = max(one["most"] for one in found.values())
    cost = asyncio.run(handover.cost())
    lines += ["", f"{handover.MEMBERS} members who begin at once, on this machine alone:", ""]
    lines += ["| processes | codes a second | deferred after, median | at worst |", "|---|---|---|---|"]
    for processes, is_file in ((1, True), (1, False), (3, False)):
        begun = asyncio.run(handover.starts(processes, is_file=is_file))
        defers = f"{begun['defer'] * 1000:.0f} ms | {begun['defer_worst'] * 1000:.0f} ms"
        lines.append(f"| {processes} on {'SQLite' if is_file else 'PostgreSQL'} | {begun['a_second']:.0f} | {defers} |")
    return [
        *lines,
        "",
        f"plex.tv never saw more than {most:.2f} times the rate in ten seconds. A `/plexlink` is {cost['command']:.0f}",
        "statements for the database, from the command to the card with the code; at rest a process makes",
        f"{cost['rest']:.0f} a minute in the mean of the three: fifteen for the tenure, whose goal is 20, and the",
        "sweeps of the one that works.",
    ]


FAULTS = "Logins that complete though some polls are answered with 503; members approve after some forty polls:"

NAMES = {"plexlink": "PlexLink", "plexapi": "plexapi, a thread each", "sessions": "a session per request, a task each"}

ABOUT_ORDER = """\
Mean seconds from an approval to its notice, at one request a second with PINs and accounts included, over two hours
and several seeds. *Beside* is polling at a fixed five seconds under the same pace, and round robin where it says
so. Times are log-normal with sigma 0.7; 15 % never approve. Shares are of the other way's mean, of its 99th percentile
and of its number of questions.

*Told* is the same order, told the true distribution of the times from the beginning: more than that nobody can know.
Where it misses a goal as well, the goal is out of reach; no order can do better than 0.67 of round robin (the square
root law: questions in proportion to the root of the hazard). With the button, most members are noticed by their own
press, three seconds after the approval and half a second in line, whatever the order.""".splitlines()

ABOUT_SHARES = """\
The longest wait of each sort at one request a second, in virtual time; a sign-out is two requests. In a crowd the last
code comes later than the requests for codes alone would take: those who have approved are noticed
meanwhile.""".splitlines()

ABOUT_POLLING = """\
Each client asks about every code at the same interval, 300 polls a second in all; the stand-in of plex.tv is another
process. PlexLink's are whole: order, pace, deadline, everything durable. `plexapi` is `MyPlexPinLogin` with another
base URL. Goals: half of plexapi's CPU, a twentieth of its memory and at most 3 KB per code, at most 8 connections, and
all logins complete. A session per request closes its connection each time.

Memory is the process's as the kernel counts it, above its rest with ten codes out. With few codes most of it is taken
once, by so many who come at the same time. With many, some 60 % are the values of a code: nearly half of these the
attempt with its secrets, so that a question costs no look at its row, and a member is answered while the database
cannot be read; else two jobs, to ask and to see to the card at the end, with their places in the agenda, and the
question. The rest is SQLite's cache of pages, which grows with the rows up to 2 MB, and tables that grow by doubling:
it is why a thousand codes miss the goal, which ten thousand keep. A fifth of the cache would be 0.4 KB less a code.

CPU misses the goal by up to a fifth. Half of that of a poll is the kernel's, sending and waiting, and most of the rest
aiohttp's; the order takes a twentieth.""".splitlines()

ABOUT_PROCESS = """\
The bot as its users run it, between a small Discord and the stand-in on loopback, both in another process. CPU is the
bot's alone; *imports* is `import discord, sqlalchemy.ext.asyncio` in the same minute.

The start misses its goals by a little: of the CPU beyond the two imports most is other imports (environs,
cryptography, qrcode, Typer), and discord.py waits half a second for more servers before it says `bot.ready`; commands
are answered meanwhile. Alembic is imported when there is something to migrate, rich when there is something to print.
Memory at rest misses its goal by the imports alone: discord.py with aiohttp and asyncio holds 43 MB, SQLAlchemy's
asyncio part 20, cryptography 7, qrcode with Pillow 4, and the bot's own modules 4.

A /plexlink is seven transactions, a call to plex.tv, a picture, and three requests to Discord where the bare command
has two. By the profile 30 % of its CPU is SQLAlchemy's and aiosqlite's, 16 % asyncio's, mostly on the way to SQLite's
thread and back, 14 % the picture's, and 17 % our own. A driver that goes there once for a statement, not four times,
saved a fifth, which was not worth its lines.""".splitlines()

ABOUT_ROLES = """\
The bot as its users run it; a thousand members of one server are owed its role, as after an hour in which all of them
link. Each is looked at and then given the role, in order, one after the other; Discord's own limits, which the small
Discord does not have, are slower than that.""".splitlines()

ABOUT_SEVERAL = f"""\
Three processes on one PostgreSQL: a front, and two that stand by, of which one works. {handover.MEMBERS} members have
a code, and one after the other approves; {handover.STRIKES} times each, something is struck. *Works again* is when
another process works, and where the database was struck, when it is there again and the next member is told. A lease
lasts twelve seconds. Who is frozen or cut off is so for a minute, and the database is out of reach for two. At the end
of each, every approval had become a link, nobody had two messages, and within half a minute every card was true.
Machines are network namespaces whose packets are dropped.""".splitlines()

HEADS_OF_HAND_OVERS = """\
| what happens | works again after | at worst | an approval is told after | at worst | links |
|---|---|---|---|---|---|""".splitlines()

PARTS = {
    "orders": order_of_questions,
    "shares": fair_shares,
    "real": real_thing,
    "time": real_time,
    "polling": cost_of_polling,
    "process": cost_of_the_process,
    "tokens": tokens_for_other_code,
    "roles": roles_for_many,
    "several": several_processes,
}


def machine() -> str:
    """Describe this machine in a line."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} of {model}, {memory:.0f} GB, {platform.system()}, Python {platform.python_version()}"


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which parts; all of them write RESULTS.md")
    parser.add_argument("--quick", action="store_true", help="once each, a few sizes")
    asked = parser.parse_args()
    bench = Bench(is_quick=asked.quick)
    known = sections(RESULTS.read_text(encoding="utf-8"))
    for name in asked.parts or PARTS:
        began, load = time.perf_counter(), os.getloadavg()[0]
        heading, *lines = PARTS[name](bench)
        known[heading] = "\n".join(
            [heading, "", f"Measured {datetime.now(UTC):%Y-%m-%d} at a load of {load:.1f}.", *lines]
        )
        print(known[heading], flush=True)
        print(f"\n({name}: {time.perf_counter() - began:.0f} s)\n", file=sys.stderr, flush=True)
        if not asked.quick:
            head = (
                "# What it costs, and how soon an approval is noticed\n\n"
                f"`make bench`, medians of {bench.repetitions} repetitions, means of {len(bench.seeds)} seeds.\n"
                f"{machine()}."
            )
            RESULTS.write_text("\n\n".join([head, *known.values()]) + "\n", encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """Return the sections of a text by their headings."""
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0]: part.strip() for part in parts}


if __name__ == "__main__":
    main()
