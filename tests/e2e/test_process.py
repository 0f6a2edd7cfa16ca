"""The bot as its operator runs it: a process, sockets, signals, files and an exit status."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from plexlink.models import Cell
from plexlink.vault import KeyRecords, Vault, read_key_file
from processes import Deployment, code_of, deployment, picture_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from processes import BotProcess
    from small_discord import Interaction

ENVELOPE = re.compile(r"plk1:[^:]*:[A-Za-z0-9_=-]*")
UNTIDY = ("Traceback", "nclosed", "Task was destroyed", "never awaited", "never retrieved", " ERROR ", "Warning:")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path) as place:
        yield place


def assert_tidy(bot: BotProcess) -> None:
    assert not [line for line in bot.log.splitlines() if any(word in line for word in UNTIDY)], bot.log


def secrets_of(place: Deployment, *interactions: Interaction) -> dict[str, str]:
    """Return everything that must stay between Discord, plex.tv, the vault and the member."""
    pins = list(place.plex.pins.values())
    return {
        **{f"PIN id {number}": str(pin.id) for number, pin in enumerate(pins)},
        **{f"code {number}": pin.code for number, pin in enumerate(pins)},
        **{f"client identifier {number}": pin.client_identifier for number, pin in enumerate(pins)},
        **{f"Plex token {number}": token for number, token in enumerate(place.plex.tokens)},
        **{f"interaction token {number}": one.token for number, one in enumerate(interactions)},
        "bot token": place.discord.token,
    }


def assert_free_of(secrets: dict[str, str], text: str, what: str) -> None:
    # Four characters may well occur by chance in the base64 of an envelope.
    without_envelopes = ENVELOPE.sub("", text)
    seen = [name for name, value in secrets.items() if value in (text if len(value) > 4 else without_envelopes)]
    assert not seen, f"{what} holds {seen}"


def assert_only_sealed(place: Deployment, *interactions: Interaction) -> None:
    for name, content in place.stored_bytes().items():
        assert_free_of(secrets_of(place, *interactions), content.decode("latin-1"), name)


def stored_token(place: Deployment) -> str:
    """Return the one link's token, opened as an operator can who has the key file."""
    with closing(sqlite3.connect(place.data_dir / "plexlink.sqlite3")) as database:
        records = dict(database.execute("SELECT name, value FROM plexlink_keys").fetchall())
        ((link_id, user_id, envelope),) = database.execute("SELECT id, user_id, token_envelope FROM plexlink_links")
    ring = read_key_file(place.data_dir / "plexlink.key")
    vault = Vault(ring=ring, records=KeyRecords(**records), reload=lambda: ring)
    return vault.decrypt(envelope, Cell("plexlink_links", "token_envelope", link_id, user_id)).reveal()


async def test_member_links_an_account_from_the_command_to_the_sealed_token(place: Deployment) -> None:
    bot = await place.start()

    command = await place.plexlink()
    card = await place.card_saying("Your code:")
    pointer = await place.answer_saying(command, "I sent you a direct message")
    pin = place.pin()
    assert pointer.ephemeral_for == place.alice.id
    assert pointer.buttons == [("Go to the message", f"https://discord.com/channels/@me/{card.channel_id}/{card.id}")]
    assert code_of(card) == pin.code
    assert dict(card.buttons)["Open Plex"] == f"{place.plex.url}/link/?pin={pin.code}" == picture_of(card)
    assert [label for label, _ in card.buttons] == ["Open Plex", "I've approved it", "New code", "Cancel"]
    assert "You asked for this with /plexlink in *Home Cinema*" in card.text
    assert_only_sealed(place, command)

    token = place.plex.approve(pin.code)
    linked = await place.card_saying("Linked as alice")
    assert linked is card
    assert not card.files
    assert pin.code not in card.text
    assert not any(pin.code in target for _, target in card.buttons)
    assert place.plex.is_alive(token)
    assert_only_sealed(place, command)

    assert await bot.terminate() == 0
    assert_tidy(bot)
    assert_only_sealed(place, command)
    assert stored_token(place) == token
    assert place.discord.syncs == 1
    assert {request.status for request in place.discord.requests} - {None} <= {200, 201, 204}


async def test_first_request_after_a_command_defers_it_in_private(place: Deployment) -> None:
    await place.start()
    before = len(place.discord.requests)

    command = await place.plexlink()
    await place.answer_saying(command, "I sent you a direct message")

    first = place.discord.requests[before]
    assert (first.method, first.path.rsplit("/", 1)[-1]) == ("POST", "callback")
    assert first.body == {"type": 5, "data": {"flags": 64}}


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
async def test_approval_while_the_bot_was_down_reaches_the_same_message(place: Deployment, end: str) -> None:
    bot = await place.start()
    card = await place.waiting_card()
    if end == "SIGTERM":
        assert await bot.terminate() == 0
        assert_tidy(bot)
    else:
        await bot.kill()
    token = place.plex.approve(code_of(card))

    successor = await place.start()
    assert await place.card_saying("Linked as alice") is card

    assert await successor.terminate() == 0
    assert_tidy(successor)
    assert stored_token(place) == token
    assert place.discord.syncs == 1


async def test_bot_that_is_killed_before_the_card_is_out_sends_it_after_the_start(place: Deployment) -> None:
    bot = await place.start()
    place.discord.fail("POST", "/channels/*/messages", 503, times=1000)
    command = await place.plexlink()
    await bot.logged("card.failed")
    await bot.kill()
    place.discord.faults.clear()

    await place.start()
    card = await place.card_saying("Your code:")
    await place.answer_saying(command, "I sent you a direct message")
    assert len(place.plex.pins) == 1
    assert code_of(card) == place.pin().code


# What the operator reads when the bot cannot run: one sentence, exit status 78.

A_PASSWORD = "hunter2-and-more"
A_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
SAYS_WHAT_TO_DO = "plexlink: "


async def assert_refuses(bot: BotProcess, *fragments: str, secrets: tuple[str, ...] = ()) -> None:
    """Expect one last sentence with all fragments, nothing secret, no traceback, and the status for "mend me"."""
    assert await bot.wait() == 78, bot.log
    assert_tidy(bot)
    sentences = [line for line in bot.log.splitlines() if line.startswith(SAYS_WHAT_TO_DO)]
    assert len(sentences) == 1, bot.log
    assert bot.log.endswith(f"{sentences[0]}\n")
    assert not [fragment for fragment in fragments if fragment not in sentences[0]], sentences[0]
    assert not [secret for secret in secrets if secret in bot.log]


async def test_missing_bot_token_is_asked_for_by_name(place: Deployment) -> None:
    bot = await place.spawn(DISCORD_TOKEN="")
    await assert_refuses(bot, "DISCORD_TOKEN is missing", "https://discord.com/developers/applications")
    assert not place.discord.requests


async def test_bot_token_that_discord_refuses_is_named_but_not_shown(place: Deployment) -> None:
    bot = await place.spawn(DISCORD_TOKEN="MTE.wrong.token")
    await assert_refuses(bot, "does not accept DISCORD_TOKEN", "developer portal", secrets=("wrong.token",))


async def test_bot_token_that_only_the_gateway_refuses_is_named_but_not_shown(place: Deployment) -> None:
    bot = await place.spawn()
    # The process asks for the gateway, tries it, and discord.py asks once more before it identifies there.
    answered = ("GET", "/gateway/bot", 200)
    await place.discord.until(
        lambda: [(one.method, one.path, one.status) for one in place.discord.requests].count(answered) == 2,
        what="a bot that goes to the gateway",
    )
    right, place.discord.token = place.discord.token, "MTA.renewed.meanwhile"
    await assert_refuses(bot, "does not accept DISCORD_TOKEN", "developer portal", secrets=(right,))


@pytest.mark.parametrize(
    ("variable", "value", "mend"),
    [
        ("PLEXLINK_PLEX_RATE", "hunter2", "requests a second, from 0.05 to 1000"),
        ("PLEXLINK_PLEX_URL", "http://hunter2.example", "https://…, or http:// on loopback"),
        ("PLEXLINK_DISCORD_API_URL", "hunter2", "an http:// or https:// address"),
        ("DISCORD_TOKEN_FILE", "/nowhere/hunter2", "a readable text file"),
    ],
)
async def test_malformed_setting_is_named_but_not_shown(
    place: Deployment, variable: str, value: str, mend: str
) -> None:
    place.environment.pop(variable.removesuffix("_FILE"), None)
    bot = await place.spawn(**{variable: value})
    await assert_refuses(bot, f"{variable} must ", mend, secrets=("hunter2",))
    assert not place.discord.requests


@pytest.mark.parametrize(
    ("keys", "mend"),
    [
        ("hunter2", "id:base64"),
        ("first:hunter2", "base64"),
        ("first:aHVudGVyMg==", "32 bytes"),
        (f"first:{A_KEY},first:{A_KEY}", "twice"),
    ],
)
async def test_malformed_keys_are_named_but_not_shown(place: Deployment, keys: str, mend: str) -> None:
    bot = await place.spawn(PLEXLINK_KEYS=keys)
    await assert_refuses(bot, "PLEXLINK_KEYS", mend, secrets=("hunter2", "aHVudGVyMg", A_KEY))


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://plex:{A_PASSWORD}@db/plexlink",
        f"nosuch://plex:{A_PASSWORD}@db/plexlink",
        f"{A_PASSWORD}",
        pytest.param(
            f"postgresql://plex:{A_PASSWORD}@db:port/plexlink",
            marks=pytest.mark.xfail(reason="store/database.py: make_url raises ValueError for a port"),
        ),
        pytest.param(
            f"sqlite://plex:{A_PASSWORD}@db/plexlink",
            marks=pytest.mark.xfail(reason="store/database.py: create_async_engine raises ArgumentError"),
        ),
    ],
)
async def test_database_url_that_cannot_be_used_is_named_but_its_password_is_not_shown(
    place: Deployment, url: str
) -> None:
    bot = await place.spawn(PLEXLINK_DATABASE_URL=url)
    await assert_refuses(bot, "PLEXLINK_DATABASE_URL", "sqlite:///path/to/file", secrets=(A_PASSWORD,))


async def test_file_in_the_way_of_the_data_folder_is_told(place: Deployment) -> None:
    place.data_dir.write_text("not a folder")
    bot = await place.spawn()
    await assert_refuses(bot, "PLEXLINK_DATA_DIR", "name a folder that can be written")


async def test_second_bot_on_the_same_data_leaves_the_first_alone(place: Deployment) -> None:
    first = await place.start()
    second = await place.spawn()
    await assert_refuses(second, "Another bot is running on this database", "stop it", "PLEXLINK_DATA_DIR")

    assert first.is_running
    await place.waiting_card()


async def test_missing_key_file_beside_existing_data_is_never_replaced(place: Deployment) -> None:
    await (await place.start()).terminate()
    (place.data_dir / "plexlink.key").unlink()

    bot = await place.spawn()
    await assert_refuses(bot, f"{place.data_dir}/plexlink.key is missing", "restore it", "PLEXLINK_KEYS")
    assert not (place.data_dir / "plexlink.key").exists()


async def test_other_keys_than_the_data_was_written_with_are_refused(place: Deployment) -> None:
    await (await place.start(PLEXLINK_KEYS=f"first:{A_KEY}")).terminate()

    bot = await place.spawn(PLEXLINK_KEYS=f"second:{A_KEY}")
    await assert_refuses(
        bot, "not those that the database was written with", "PLEXLINK_KEYS", "first", secrets=(A_KEY,)
    )


async def test_other_key_under_the_same_name_is_refused(place: Deployment) -> None:
    await (await place.start(PLEXLINK_KEYS=f"first:{A_KEY}")).terminate()

    bot = await place.spawn(PLEXLINK_KEYS=f"first:{A_KEY[::-1].strip('=')}=")
    await assert_refuses(bot, "not those that the database was written with", "PLEXLINK_KEYS", "first")


async def test_database_file_that_is_none_is_told(place: Deployment) -> None:
    place.data_dir.mkdir()
    (place.data_dir / "plexlink.sqlite3").write_bytes(b"\xff garbage \x00" * 1000)

    bot = await place.spawn()
    await assert_refuses(bot, "The database cannot be used", "PLEXLINK_DATA_DIR")
    assert (place.data_dir / "plexlink.sqlite3").read_bytes().startswith(b"\xff garbage")
