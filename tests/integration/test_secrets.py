"""Planted secrets are looked for wherever they must not be, while the bot goes through good and bad days."""

from __future__ import annotations

import base64
import inspect
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from harness import Card, World, a_world
from plexlink import errors
from plexlink.secret import Secret
from plexlink_bot.sandbox.plex_tv import ALICE, BOB, KID, Html, JsonError, Operation, Reset, ServerError, WrongTypes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

NAMED = replace(BOB, username="planted-account-name")
KEY = base64.b64encode(b"planted-key-material-0123456789a").decode()


async def test_no_secret_is_in_a_log_an_error_a_repr_or_the_database(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("discord.http", "discord.gateway", "discord.client", "discord.webhook.async_", "aiosqlite"):
        caplog.set_level(logging.INFO, name)  # as the process sets them
    caplog.set_level(logging.DEBUG)  # last: it sets the level of the catching handler too

    async with a_world(tmp_path, pin_style="strong", keys=Secret(f"planted:{KEY}")) as world:
        tokens = await _live(world)
        desk = world.env.bot.get_cog("PlexLink")._desk
        worker = desk.resume.__self__
        texts = {
            "log": caplog.text,
            "repr": repr([desk, *map(vars, (worker, worker._ledger, worker._asker)), world.env.bot.plexlink_settings]),
            "errors": repr(world.env.errors),
        }
        secrets = _secrets(world, tokens)
        files = _files(tmp_path)

    assert {"plexlink.sqlite3", "plexlink.sqlite3-wal"} <= files.keys()
    assert len(secrets) > 15
    for what, secret in secrets:
        for where, text in texts.items():
            assert secret not in text, f"{what} in {where}"
        for where, data in files.items():
            assert secret.encode() not in data, f"{what} in {where}"


async def _live(world: World) -> list[str]:
    """Link, fail, cancel, undo, and leave one attempt open; return the tokens that plex.tv gave."""
    await world.plexlink()
    for fault in (ServerError(500), Html(403), Reset(), WrongTypes(authToken="bad token")):
        world.plex.fail(fault, calls=Operation.GET_PIN)
        await world.press("I've approved it")
    tokens = [world.approve(NAMED)]
    world.plex.fail(Html(502), calls=Operation.USER)
    await world.advance(20)
    bob, kid, open_one = world.join("bob"), world.join("kid"), world.join("open")
    await world.plexlink(kid)
    tokens.append(world.approve(KID))
    await world.advance(6)
    await world.plexlink(bob)
    tokens.append(world.approve(ALICE))
    await world.advance(6)
    world.plex.fail(ServerError(500), calls=Operation.SIGN_OUT, times=None)
    await world.press("Not me: undo", bob)
    await world.plexlink(open_one)
    await world.press("New code", open_one)
    world.env.inject_error("PATCH", "/channels/*/messages/*", status=500, times=2)
    await world.press("I've approved it", open_one)
    await world.advance(4)
    return tokens


def _secrets(world: World, tokens: list[str]) -> list[tuple[str, str]]:
    pins = list(world.plex.pins.values())
    return [
        *(("a token", token) for token in tokens),
        *(("a PIN id", str(pin.id)) for pin in pins),
        *(("a code", pin.code) for pin in pins),
        *(("a client identifier", pin.client_identifier) for pin in pins),
        *(("an interaction token", token) for token in world.env.backend.interaction_tokens),
        ("the key", KEY),
        ("the key's bytes", base64.b64decode(KEY).decode()),
        ("an account name", NAMED.username),
    ]


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# --- the card, after the ends that take long or are rare; the common ones are tried on the real process ---


async def be_revoked(world: World) -> None:
    world.plex.fail(JsonError(401, 1001), calls=Operation.USER, times=None)
    world.approve()
    await world.advance(400)


async def run_out_in_silence(world: World) -> None:
    world.plex.fail(ServerError(503), calls=Operation.GET_PIN, times=None)
    await world.advance(1850 if world.pin().strong else 950)


async def become_unreadable(world: World) -> None:
    await world.stop()
    world.write("UPDATE plexlink_attempts SET pin_id_envelope = user_code_envelope")
    await world.start()
    await world.advance(20)


async def be_replaced(world: World) -> None:
    world.approve(ALICE)
    await world.advance(6)
    again = await world.plexlink()
    await world.alice.click(again.response, label="Link another account")
    world.approve(BOB)
    await world.advance(6)


async def move_on(world: World) -> None:
    """Type /plexlink again: an ephemeral card moves to the newest answer."""
    await world.plexlink()
    await world.advance(2)
    world.approve()
    await world.advance(6)


LATE_ENDS: dict[str, tuple[Callable[[World], Awaitable[None]], str, str]] = {
    "revoked": (be_revoked, "Plex ended the sign-in", "Plex ended the sign-in"),
    "unsure": (run_out_in_silence, "Plex does not answer at the moment", "The code ran out"),
    "unreadable": (become_unreadable, "Something broke", "Something broke"),
    "replaced": (be_replaced, "You have linked a Plex account anew", "Linked as alice"),
    "moved": (move_on, "Linked as alice", "This card has moved"),
}


@pytest.mark.parametrize("pin_style", ["short", "strong"])
@pytest.mark.parametrize("lane", ["message", "answer"])
@pytest.mark.parametrize("end", LATE_ENDS)
async def test_code_and_picture_are_gone_from_the_card_at_every_late_end(
    tmp_path: Path, end: str, lane: str, pin_style: str
) -> None:
    bring_about, says_in_message, says_in_answer = LATE_ENDS[end]
    async with a_world(tmp_path, pin_style=pin_style) as world:
        if lane == "answer":
            world.close_dms()
        result = await world.plexlink()
        message = world.card().message if lane == "message" else result.response
        before, pin = Card(message), world.pin()
        assert pin.code in str(before.parts)
        assert before.attachments

        await bring_about(world)

        after = Card(message)
        assert (says_in_message if lane == "message" else says_in_answer) in after.text
        assert pin.code not in str(after.parts)
        assert pin.client_identifier not in str(after.parts)
        assert not after.attachments


# --- what is raised ---


def test_every_exception_of_the_family_can_be_told_without_a_value() -> None:
    family = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, errors.PlexLinkError)]
    assert len(family) > 15
    own = {each.__name__ for each in family if "__init__" in vars(each)}
    assert own == {"PlexSlowDownError"}  # it holds a number; all others only their sentence
