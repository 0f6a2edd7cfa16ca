"""The bot as its operator runs it: a process, sockets, signals, files and an exit status."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from planted import assert_free_of, assert_only_sealed
from plexlink.secret import Cell
from plexlink.vault import KeyRecords, Vault, read_key_file
from plexlink_bot.sandbox.plex_tv import Hang, Operation
from processes import PATIENCE_SECONDS, Deployment, code_of, countdown_of, deployment, picture_of, run_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from processes import BotProcess
    from small_discord import Message

UNTIDY = ("Traceback", "nclosed", "Task was destroyed", "never awaited", "never retrieved", " ERROR ", "Warning:")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path) as place:
        yield place


def assert_tidy(bot: BotProcess) -> None:
    assert not [line for line in bot.log.splitlines() if any(word in line for word in UNTIDY)], bot.log


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
    before = len(place.discord.requests)

    command = await place.plexlink()
    card = await place.card_saying("Your code:")
    pointer = await place.answer_saying(command, "I sent you a direct message")
    pin = place.pin()
    first = place.discord.requests[before]
    assert first.path.endswith("/callback")
    assert first.body == {"type": 5, "data": {"flags": 64}}  # "thinking", in private, before anything else
    assert pointer.ephemeral_for == place.alice.id
    assert pointer.buttons == [("Go to the message", f"https://discord.com/channels/@me/{card.channel_id}/{card.id}")]
    assert code_of(card) == pin.code
    assert dict(card.buttons)["Open Plex"] == f"{place.plex.url}/link/?pin={pin.code}" == picture_of(card)
    assert [label for label, _ in card.buttons] == ["Open Plex", "I've approved it", "New code", "Cancel"]
    assert "You asked for this with /plexlink in *Home Cinema*" in card.text
    assert_only_sealed(place)

    token = place.plex.approve(pin.code)
    linked = await place.card_saying("Linked as alice")
    assert linked is card
    assert not card.files
    assert pin.code not in card.text
    assert not any(pin.code in target for _, target in card.buttons)
    assert place.plex.is_alive(token)
    assert_only_sealed(place)

    assert await bot.terminate() == 0
    assert_tidy(bot)
    assert_only_sealed(place)
    assert stored_token(place) == token
    assert place.discord.syncs == 1
    assert {request.status for request in place.discord.requests} - {None} <= {200, 201, 204}


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


# What the operator reads when the bot cannot run: one sentence, exit status 78.

A_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
ANOTHER_KEY = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY="
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


async def test_without_its_packages_the_command_says_what_to_install(place: Deployment) -> None:
    without_typer = "import sys; sys.modules['typer'] = None; from plexlink_bot.__main__ import main; main()"
    bot = await place.spawn(arguments=("-c", without_typer, "run"))
    assert await bot.wait() == 78
    assert bot.log == "plexlink: the command needs more packages: pip install 'plexlink[bot]'\n"


@pytest.mark.parametrize("named", [{"DISCORD_TOKEN": ""}, {"PLEXLINK_DATABASE_URL": "sqlite:///here"}])
async def test_a_start_in_a_folder_that_is_gone_is_told(place: Deployment, named: dict[str, str]) -> None:
    bot = await place.spawn(within=("sh", "-c", 'mkdir gone; cd gone; rmdir ../gone; exec "$@"', "sh"), **named)
    await assert_refuses(bot, "The folder that this was started in is gone")


async def test_bot_token_that_discord_refuses_is_named_but_not_shown(place: Deployment) -> None:
    bot = await place.spawn(DISCORD_TOKEN="MTE.wrong.token")
    await assert_refuses(bot, "does not accept DISCORD_TOKEN", "developer portal", secrets=("wrong.token",))


async def test_an_intent_that_discord_does_not_grant_is_named_with_both_ways_out(place: Deployment) -> None:
    bot = await place.spawn(PLEXLINK_MEMBERS_INTENT="true")
    await assert_refuses(bot, "Server Members Intent", "PLEXLINK_MEMBERS_INTENT")


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
        ("PLEXLINK_PLEX_RATE", "hunter2", "must be requests a second, from 0.05 to 1000"),
        ("PLEXLINK_KEYS", "first:aHVudGVyMg==", "32 bytes"),
        ("PLEXLINK_DATABASE_URL", "postgresql://plex:hunter2@db:port/plexlink", "no port where one should be"),
    ],
)
async def test_malformed_setting_is_named_but_not_shown(
    place: Deployment, variable: str, value: str, mend: str
) -> None:
    bot = await place.spawn(**{variable: value})
    await assert_refuses(bot, variable, mend, secrets=("hunter2", "aHVudGVyMg"))
    assert not place.discord.requests


async def test_file_in_the_way_of_the_data_folder_is_told(place: Deployment) -> None:
    place.data_dir.write_text("not a folder")
    bot = await place.spawn()
    await assert_refuses(bot, "PLEXLINK_DATA_DIR", "name a folder that can be written")


async def test_second_bot_waits_for_the_first_to_stop(place: Deployment) -> None:
    first = await place.start()
    second = await place.spawn()
    await second.logged("bot.waiting")
    assert await first.terminate() == 0
    await second.logged("bot.ready")
    assert second.log.count(f"store.opening file={place.data_dir}/plexlink.sqlite3\n") == 1
    await place.waiting_card()


@pytest.mark.parametrize("way", ["the same path", "a link"])
async def test_second_bot_on_the_same_data_leaves_the_first_alone(place: Deployment, way: str) -> None:
    first = await place.start()
    others = {}
    if way == "a link":
        (link := place.folder / "link").symlink_to(place.data_dir)
        others = {"PLEXLINK_DATA_DIR": str(link)}
    impatient = run_with("plexlink_bot.app", PREDECESSOR_STOPS_WITHIN_SECONDS=0)
    second = await place.spawn(arguments=impatient, **others)
    assert await second.wait() == 69, "worth another try"
    assert "Traceback" not in second.log
    assert (
        f"A running program holds {place.data_dir}/plexlink.sqlite3.lock, most likely another bot on this database; "
        "stop it, or give this one its own PLEXLINK_DATA_DIR"
    ) in second.log

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

    bot = await place.spawn(PLEXLINK_KEYS=f"first:{ANOTHER_KEY}")
    await assert_refuses(
        bot, "not those that the database was written with", "PLEXLINK_KEYS", "first", secrets=(A_KEY, ANOTHER_KEY)
    )


async def test_database_file_that_is_none_is_told(place: Deployment) -> None:
    place.data_dir.mkdir()
    (place.data_dir / "plexlink.sqlite3").write_bytes(b"\xff garbage \x00" * 1000)

    bot = await place.spawn()
    await assert_refuses(bot, "The database cannot be used", "PLEXLINK_DATA_DIR")
    assert (place.data_dir / "plexlink.sqlite3").read_bytes().startswith(b"\xff garbage")


# A card outlives the process that sent it.


async def test_countdown_and_every_button_survive_restarts(place: Deployment) -> None:
    bot = await place.start()
    card = await place.waiting_card()
    code, countdown = code_of(card), countdown_of(card)
    assert abs(countdown - place.pin().expires_at.timestamp()) <= 2
    await bot.terminate()

    bot = await place.start()
    await place.press(card, "I've approved it")
    again = await place.card_saying("Plex has not seen your approval yet")
    assert (again, code_of(again), countdown_of(again)) == (card, code, countdown)
    assert picture_of(again) == dict(again.buttons)["Open Plex"]
    await bot.kill()

    bot = await place.start()
    await place.press(card, "New code")
    renewed = await place.card_saying("Your code:", but_not=code)
    await bot.logged("link.pending")
    assert len(place.plex.pins) == 2
    assert (renewed, code_of(renewed)) == (card, place.pin().code)
    await bot.kill()

    await place.start()
    await place.press(card, "Cancel")
    cancelled = await place.card_saying("Cancelled")
    assert cancelled is card
    assert [label for label, _ in cancelled.buttons] == ["Start again"]
    assert not cancelled.files


async def test_late_edit_with_the_old_code_is_not_the_last_word(place: Deployment) -> None:
    bot = await place.start()
    card = await place.waiting_card()
    first_code = code_of(card)
    late = place.discord.hold("PATCH", "/channels/*/messages/*")
    await place.press(card, "I've approved it")
    await late.caught()
    await place.press(card, "New code")
    await bot.logged("link.pending", times=2)
    late.release()
    await place.card_saying("Your code:", but_not=first_code)
    await bot.terminate()
    assert code_of(card) == place.pin().code


async def test_code_that_expires_while_the_bot_is_down_can_be_renewed(place: Deployment) -> None:
    bot = await place.start()
    card = await place.waiting_card()
    await bot.terminate()
    place.plex.expire(code_of(card))

    await place.start()
    expired = await place.card_saying("The code ran out")
    assert expired is card
    assert not card.files
    assert [label for label, _ in card.buttons] == ["New code"]

    await place.press(card, "New code")
    await place.card_saying("Your code:")
    place.plex.approve(place.pin().code)
    await place.press(card, "I've approved it")
    await place.card_saying("Linked as alice")


# The bot dies after Discord stored the message and before the bot could note where.


async def card_of_unknown_place(place: Deployment) -> Message:
    """Return a waiting card whose bot was killed before it learned that the card is out."""
    bot = await place.start()
    place.discord.fail("POST", "/channels/*/messages", 0, times=1000, before=False)
    for method, path in [("GET", "/channels/*/messages"), ("PATCH", "/webhooks/*")]:
        place.discord.fail(method, path, 503, times=1000)
    await place.plexlink()
    card = await place.card_saying("Your code:")
    await bot.kill()
    place.discord.faults.clear()
    return card


@pytest.mark.parametrize("nonce", ["remembered", "forgotten"])
async def test_card_of_unknown_place_is_found_again(place: Deployment, nonce: str) -> None:
    card = await card_of_unknown_place(place)
    if nonce == "forgotten":
        card.nonce = None  # as Discord does after some minutes
    await place.start()
    command = place.discord.interactions[0]
    pointer = await place.answer_saying(command, "I sent you a direct message")
    assert dict(pointer.buttons)["Go to the message"].endswith(f"/{card.id}")
    place.plex.approve(code_of(card))
    await place.press(card, "I've approved it")
    assert await place.card_saying("Linked as alice") is card
    assert place.discord.dm(place.alice) == [card]


async def test_card_of_unknown_place_tells_of_an_approval_meanwhile(place: Deployment) -> None:
    card = await card_of_unknown_place(place)
    place.plex.approve(code_of(card))
    # The first card of the new process fails, so that the next one it draws is that of the linked attempt.
    place.discord.fail("POST", "/users/@me/channels", 503, times=1)
    bot = await place.start()
    await bot.logged("link.linked")
    assert await place.card_saying("Linked as alice") is card
    await place.answer_saying(place.discord.interactions[0], "I sent you a direct message")


# Direct messages are closed.


async def test_member_with_closed_messages_links_in_the_answer_whatever_is_restarted(place: Deployment) -> None:
    place.alice.dms_closed = 50007
    bot = await place.start()
    command = await place.plexlink()
    card = await place.answer_saying(command, "Your code:")
    assert card.ephemeral_for == place.alice.id
    assert "Discord did not let me send you a direct message" in card.text
    first_code = code_of(card)
    assert first_code == place.pin().code
    assert picture_of(card) == dict(card.buttons)["Open Plex"]
    await bot.kill()
    assert_only_sealed(place)

    successor = await place.start()
    await place.press(card, "New code")
    assert await place.answer_saying(command, "Your code:", but_not=first_code) is card
    await successor.kill()
    place.plex.approve(place.pin().code)

    await place.start()
    assert await place.answer_saying(command, "Linked as alice") is card
    assert not card.files
    assert_only_sealed(place)
    assert place.discord.dm(place.alice) == []


async def test_what_changes_while_the_bot_looks_for_a_late_message_is_shown_at_once(place: Deployment) -> None:
    place.alice.dms_closed = 50007
    bot = await place.start(arguments=run_with("plexlink.work.presenter", _LATE_SECONDS=0.5))
    command = await place.plexlink()
    card = await place.answer_saying(command, "Your code:")
    looking = place.discord.hold("GET", "/channels/*/messages")
    await looking.caught()
    await place.press(card, "Cancel")
    await bot.logged("link.cancelled")
    looking.release()
    await place.answer_saying(command, "Cancelled")


# Discord is away.


@pytest.mark.parametrize(
    ("method", "path", "status", "times"),
    [
        ("GET", "/users/@me", 503, 1),
        # A connection that was used before is tried twice by the HTTP library itself.
        ("PUT", "/applications/*/commands", 0, 2),
        ("PUT", "/applications/*/commands", 503, 1),
    ],
)
async def test_bot_waits_for_an_api_that_fails_at_the_start(
    place: Deployment, method: str, path: str, status: int, times: int
) -> None:
    fault = place.discord.fail(method, path, status, times=times)

    bot = await place.start()
    await place.waiting_card()

    assert fault.times == 0
    assert bot.log.count("bot.unreachable") == 1
    assert "trying again in 2 s" in bot.log
    assert place.discord.syncs == 1
    assert await bot.terminate() == 0
    assert_tidy(bot)


async def test_bot_waits_for_an_api_that_is_not_there_at_the_start(place: Deployment) -> None:
    await place.discord.stop()
    bot = await place.spawn()
    assert "trying again in 2 s" in await bot.logged("bot.unreachable")

    await place.discord.start()
    await place.discord.wait_ready()
    await place.waiting_card()
    assert_tidy(bot)


async def test_bot_waits_for_a_gateway_that_refuses_at_the_start(place: Deployment) -> None:
    place.discord.refuse_gateway = True
    bot = await place.spawn()
    assert "trying again in 2 s" in await bot.logged("bot.unreachable")

    place.discord.refuse_gateway = False
    await place.discord.wait_ready()
    await place.waiting_card()
    assert_tidy(bot)


async def test_gateway_that_asks_once_more_and_fails_is_waited_for(place: Deployment) -> None:
    # discord.py asks for the gateway's address itself, after the process has tried it.
    bot = await place.spawn()
    asked = ("GET", "/gateway/bot")
    await place.discord.until(
        lambda: [(one.method, one.path) for one in place.discord.requests].count(asked) == 1,
        what="a bot that asks for the gateway",
    )
    place.discord.fail(*asked, 503)

    await bot.logged("bot.unreachable")
    await place.discord.wait_ready()
    await place.waiting_card()
    assert_tidy(bot)


@pytest.mark.parametrize("missing", ["api", "gateway"])
async def test_bot_that_cannot_reach_discord_for_long_gives_up(place: Deployment, missing: str) -> None:
    if missing == "api":
        await place.discord.stop()
    place.discord.refuse_gateway = True
    shortened = "from plexlink_bot import app, cli; app.GIVES_UP_AFTER_SECONDS = 4.0; cli.main()"

    bot = await place.spawn(arguments=("-c", shortened, "run"))

    assert await bot.wait() == 69
    assert "bot.unreachable" in bot.log
    last = bot.log.splitlines()[-1]
    assert "bot.gave_up" in last
    assert not [line for line in bot.log.splitlines() if line != last and any(word in line for word in UNTIDY)]


async def test_bot_that_waits_for_discord_stops_at_once(place: Deployment) -> None:
    place.discord.refuse_gateway = True
    bot = await place.spawn()
    await bot.logged("bot.unreachable")

    assert await bot.terminate() == 0
    assert_tidy(bot)


# Where it goes, and what it says.

WATCHED = """
import sys
def watch(event, arguments):
    if event == "socket.connect":
        print("connects to", *arguments[1][:2], flush=True)
    elif event == "socket.getaddrinfo":
        print("looks up", arguments[0], flush=True)
sys.addaudithook(watch)
from plexlink_bot.cli import main
main()
"""


async def test_bot_goes_to_the_given_addresses_and_nowhere_else(place: Deployment) -> None:
    proxy = "http://127.0.0.1:9"
    proxies = {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "ALL_PROXY": proxy, "http_proxy": proxy, "https_proxy": proxy}

    bot = await place.start(arguments=("-c", WATCHED, "run"), **proxies)
    card = await place.waiting_card()
    place.plex.approve(code_of(card))
    await place.press(card, "I've approved it")
    await place.press(await place.card_saying("Linked as alice"), "Not me: undo")
    await place.card_saying("Undone")
    assert await bot.terminate() == 0

    places = {line for line in bot.log.splitlines() if line.startswith(("connects to", "looks up"))}
    servers = (place.discord.api_url, place.plex.url)
    assert {line for line in places if line.startswith("connects")} == {
        f"connects to 127.0.0.1 {urlsplit(server).port}" for server in servers
    }
    assert {line for line in places if line.startswith("looks")} <= {"looks up 127.0.0.1"}
    assert await bot.logged("bot.proxy_passed_over") == (await bot.logged("Not used: HTTP_PROXY, http_proxy, "))
    assert proxy not in bot.log


async def test_log_of_the_whole_main_job_is_json_and_holds_no_secret(place: Deployment) -> None:
    keys = f"first:{A_KEY}"
    bot = await place.start(PLEXLINK_LOG_FORMAT="json", PLEXLINK_LOG_LEVEL="DEBUG", PLEXLINK_KEYS=keys)
    command = await place.plexlink()
    card = await place.card_saying("Your code:")
    await place.answer_saying(command, "I sent you a direct message")
    first = code_of(card)
    await place.press(card, "New code")
    await place.card_saying("Your code:", but_not=first)
    place.plex.approve(place.pin().code)
    await place.press(card, "I've approved it")
    await place.card_saying("Linked as alice")
    await place.press(card, "Not me: undo")
    await place.card_saying("Undone")
    await bot.logged("sign_out.signed_out")
    assert await bot.terminate() == 0

    lines = [json.loads(line) for line in bot.log.splitlines()]
    assert {"at", "level", "logger", "message"} <= set.intersection(*(set(line) for line in lines))
    assert {"DEBUG", "INFO"} <= {line["level"] for line in lines}
    assert any("link.linked" in line["message"] for line in lines)
    assert not [line for line in lines if "exception" in line]
    secrets = {**place.secrets(), "key": A_KEY}
    assert len(secrets) == 13
    assert_free_of(secrets, bot.log, "the log")


# A token that comes while its member goes another way.


@pytest.mark.parametrize(("label", "then"), [("Cancel", "Cancelled"), ("New code", "Your code:")])
async def test_token_that_nobody_wants_any_more_is_signed_out(place: Deployment, label: str, then: str) -> None:
    await place.start()
    await place.plexlink()
    card = await place.card_saying("Your code:")
    code = code_of(card)
    place.plex.fail(Hang(), calls=Operation.GET_PIN)
    token = place.plex.approve(code)
    await place.press(card, "I've approved it")
    async with asyncio.timeout(PATIENCE_SECONDS):
        await place.plex.received(Operation.GET_PIN)
    await place.press(card, label)
    await place.card_saying(then, but_not=code)
    place.plex.heal()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await place.plex.received(Operation.SIGN_OUT)
    assert not place.plex.is_alive(token)
