"""What an operator reads: a start in a few lines of ours, and no library's chatter."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from plexlink.store.migrations import HEAD
from processes import Deployment, deployment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LINE = re.compile(r"\S+ \S+ (?P<level>[A-Z]+) +(?P<logger>[\w.]+): (?P<message>.*)")
BUSY = "discord.gateway"
"""It warns where the machine is slow."""

DATABASE = "INFO store.opening file={data}/plexlink.sqlite3"
READY = "INFO bot.ready user=PlexLink#0000 servers=1 invite={invite}"
STOPPED = ["INFO bot.stopping", "INFO bot.stopped"]
LATER_START = [DATABASE, READY]
FIRST_START = [
    DATABASE,
    f"INFO store.created version={HEAD}: there was no database of PlexLink's in this place",
    "WARNING vault.key_created file={data}/plexlink.key: without it no token is read; back it up: plexlink backup-keys",
    "INFO bot.commands_synchronised everywhere",
    READY,
]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path) as place:
        yield place


async def log_of_a_run(place: Deployment, **environment: str) -> str:
    """Return all that one run says, from its start to its stop."""
    bot = await place.start(**environment)
    await bot.logged("bot.ready")
    assert await bot.terminate() == 0
    return bot.log


def expected(place: Deployment, lines: list[str]) -> list[str]:
    invite = (
        f"https://discord.com/oauth2/authorize?client_id={place.discord.application_id}"
        "&scope=bot+applications.commands&permissions=0"
    )
    return [line.format(data=place.data_dir, invite=invite) for line in [*lines, *STOPPED]]


async def test_a_first_start_says_in_five_lines_what_it_did_and_a_later_one_in_two(place: Deployment) -> None:
    for lines in (FIRST_START, LATER_START, LATER_START):
        found = [LINE.fullmatch(line) for line in (await log_of_a_run(place)).splitlines()]
        said = [f"{line['level']} {line['message']}" for line in found if line and line["logger"] != BUSY]
        assert None not in found
        assert said == expected(place, lines)


async def test_a_start_for_machines_says_the_same(place: Deployment) -> None:
    for lines in (FIRST_START, LATER_START):
        log = await log_of_a_run(place, PLEXLINK_LOG_FORMAT="json")
        found = [json.loads(line) for line in log.splitlines()]
        said = [f"{line['level']} {line['message']}" for line in found if line["logger"] != BUSY]
        assert said == expected(place, lines)


async def test_at_debug_the_libraries_are_heard_too(place: Deployment) -> None:
    log = await log_of_a_run(place, PLEXLINK_LOG_LEVEL="DEBUG")
    loggers = {found["logger"].partition(".")[0] for line in log.splitlines() if (found := LINE.fullmatch(line))}
    assert {"plexlink", "plexlink_bot", "alembic", "discord"} <= loggers
    assert "setup plugin" in log
    assert "logging in using static token" in log
