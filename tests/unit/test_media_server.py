"""The small media server: what is on deck, for whoever was admitted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import aiohttp
import pytest

from plexlink_bot.sandbox.media_server import FILMS, MediaServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

JSON = {"Accept": "application/json"}


@pytest.fixture
async def server() -> AsyncIterator[MediaServer]:
    async with MediaServer() as server:
        yield server


async def ask(address: str, headers: Mapping[str, str], path: str = "/library/onDeck") -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.get(address + path, headers=headers) as answer:
        return answer.status, await answer.read()


async def test_what_is_on_deck_is_told_to_who_was_admitted(server: MediaServer) -> None:
    admitted = server.admit()
    (connection,) = admitted.connections
    status, body = await ask(connection.uri, JSON | {"X-Plex-Token": admitted.access_token})
    container = json.loads(body)["MediaContainer"]
    assert (status, container["size"]) == (200, len(FILMS))
    assert [item["title"] for item in container["Metadata"]] == [film.title for film in FILMS]
    assert [item.get("grandparentTitle", "") for item in container["Metadata"]] == [film.series for film in FILMS]


@pytest.mark.parametrize("token", [None, "", "x" * 20])
async def test_nobody_else_is_told_anything(server: MediaServer, token: str | None) -> None:
    (connection,) = server.admit().connections
    status, body = await ask(connection.uri, JSON if token is None else JSON | {"X-Plex-Token": token})
    assert status == 401
    assert FILMS[0].title.encode() not in body


async def test_each_who_is_admitted_has_a_token_of_their_own_to_one_server(server: MediaServer) -> None:
    first, second = server.admit(), server.admit()
    assert first.access_token != second.access_token
    assert first.client_identifier == second.client_identifier
    assert first.access_token not in repr(first)


async def test_it_speaks_json_only_and_knows_one_path(server: MediaServer) -> None:
    admitted = server.admit()
    (connection,) = admitted.connections
    with_token = {"X-Plex-Token": admitted.access_token}
    assert (await ask(connection.uri, with_token | {"Accept": "text/xml"}))[0] == 406
    assert (await ask(connection.uri, with_token | JSON, "/library/sections"))[0] == 404


async def test_stopped_server_is_not_reached(server: MediaServer) -> None:
    admitted = server.admit()
    await server.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await ask(admitted.connections[0].uri, JSON)
