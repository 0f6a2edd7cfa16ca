"""Planted secrets are looked for wherever they must not be, while the bot goes through good and bad days."""

from __future__ import annotations

import base64
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from harness import World, a_world
from plexlink_bot.sandbox.plex_tv import ALICE, BOB, KID, Html, Operation, Reset, ServerError, WrongTypes

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

NAMED = replace(BOB, username="planted-account-name")
KEY = base64.b64encode(b"planted-key-material-0123456789a").decode()


async def test_no_secret_is_in_a_log_an_error_a_repr_or_the_database(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("discord.http", "discord.gateway", "discord.client", "discord.webhook.async_"):
        caplog.set_level(logging.INFO, name)  # as the process sets them
    caplog.set_level(logging.DEBUG)  # last: it sets the level of the catching handler too
    from plexlink.models import Secret  # noqa: PLC0415 - the class that the loaded plugin uses

    async with a_world(tmp_path, pin_style="strong", keys=Secret(f"planted:{KEY}")) as world:
        tokens = await _live(world)
        service = world.env.bot.get_cog("PlexLink")._service
        texts = {
            "log": caplog.text,
            "repr": repr([vars(service), vars(service._ledger), vars(service._asker), world.env.bot.plexlink_settings]),
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
