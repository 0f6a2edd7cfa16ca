"""The process on the database that the first release left: it goes on with every row."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from accounts import account_of
from first_release import KEYS, MEMBERS, plant
from plexlink.store.migrations import HEAD
from plexlink_bot.sandbox.plex_tv import Device, Pin
from processes import PATIENCE_SECONDS, Deployment, deployment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path, PLEXLINK_KEYS=KEYS) as place:
        yield place


def plant_code(place: Deployment, number: int) -> None:
    """Let plex.tv know the code that a member was given."""
    now = place.discord.now()
    place.plex.pins[90000 + number] = Pin(
        id=90000 + number,
        code=f"CD{number:02}",
        client_identifier=f"client-of-{number}-0123456789",
        product="PlexLink",
        device_name="Discord: member via PlexLink",
        strong=False,
        created_at=now,
        expires_at=now + timedelta(minutes=10),
    )


def plant_token(place: Deployment, number: int) -> str:
    """Let plex.tv know the token that the first release stored for a member."""
    token, now = f"token-of-{number}-0123456789", place.discord.now()
    place.plex.tokens[token] = Device(
        id=number,
        account=account_of(f"member{number}"),
        client_identifier=f"client-of-{number}-0123456789",
        name="Discord: member via PlexLink",
        product="PlexLink",
        created_at=now,
        last_seen_at=now,
    )
    return token


def rows(place: Deployment, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(place.data_dir / "plexlink.sqlite3")) as database:
        return database.execute(query).fetchall()


async def rows_become(place: Deployment, query: str, expected: list[tuple[Any, ...]]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while rows(place, query) != expected:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.1)
    assert rows(place, query) == expected, place.log


ATTEMPTS = "SELECT user_id, state, reason, shown_state FROM plexlink_attempts ORDER BY id"
AFTERWARDS = [
    (1, "pending", None, "waiting"),
    *((number, "linked", None, "linked") for number in range(2, 9)),
    (9, "linked", "undone", "undone"),
    (7, "linked", "replaced", "replaced"),
    (11, "refused", "managed", "refused"),
    (12, "refused", "taken", "refused"),
    (13, "refused", "revoked", "refused"),
    (14, "expired", None, "expired"),
    (15, "cancelled", None, "cancelled"),
    (16, "failed", "plex_refused", "failed"),
    (17, "failed", "plex_silent", "failed"),
    (18, "failed", "unreadable", "failed"),
]
CARDS = {
    1: "Your code:",
    **{number: f"Linked as member{number}" for number in range(2, 7)},
    8: "Linked as account",
    11: "This profile cannot be linked",
}
"""What is told anew: the messages of then are not there any more, and who knew how it ended is left alone."""


async def test_the_bot_goes_on_with_every_row_that_the_first_release_left(place: Deployment) -> None:
    plant(place)
    approved = (2, 3, 4)
    for number in approved:
        plant_code(place, number)
        place.plex.approve(f"CD{number:02}", account_of(f"member{number}"))
    tokens = {number: plant_token(place, number) for number in (5, 6, 7, 8, 9)}
    bot = await place.start()
    await rows_become(place, ATTEMPTS, AFTERWARDS)
    await rows_become(place, "SELECT user_id FROM plexlink_sign_outs", [])
    await rows_become(place, "SELECT user_id FROM plexlink_links ORDER BY user_id", [(n,) for n in range(2, 9)])
    assert await bot.terminate() == 0

    assert {number for number, token in tokens.items() if not place.plex.is_alive(token)} == {9}
    told = {number: place.discord.dm(place.discord.users[number]) for number in MEMBERS}
    assert {number for number, messages in told.items() if messages} == set(CARDS)
    for number, words in CARDS.items():
        (card,) = told[number]
        assert words in card.text
    (copy,) = place.data_dir.glob("*.copy-*-of-0001")
    said = [line.split(": ", 1)[1] for line in bot.log.splitlines() if " plexlink.store" in line]
    assert said == [
        f"store.opening file={place.data_dir}/plexlink.sqlite3",
        f"store.copied file={copy}: the database as it was before its upgrade",
        f"store.upgraded from=0001 to={HEAD}",
    ]

    later = await place.start()
    await later.logged("bot.ready")
    assert await later.terminate() == 0
    assert "store.upgraded" not in later.log
    assert list(place.data_dir.glob("*.copy-*")) == [copy]


async def test_an_older_program_on_a_newer_database_stops_with_one_sentence(place: Deployment) -> None:
    await (await place.start()).terminate()
    with closing(sqlite3.connect(place.data_dir / "plexlink.sqlite3")) as database, database:
        database.execute("UPDATE plexlink_version SET version_num = '0099'")
    before, asked = place.stored_bytes(), len(place.discord.requests)
    bot = await place.spawn()
    assert await bot.wait() == 78
    first, sentence = bot.log.splitlines()
    assert "store.opening" in first
    assert sentence == "plexlink: A newer PlexLink wrote this database; install that release or a later one."
    assert place.stored_bytes() == before
    assert len(place.discord.requests) == asked
