"""The example of the README, word for word, in a bot with PlexLink: what a member sees of it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness import World, a_world
from plexlink_bot.sandbox import plex_faults as faults
from plexlink_bot.sandbox.media_server import FILMS, Film, MediaServer
from plexlink_bot.sandbox.plex_tv import Connection, Operation, PlexTV

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from plexlink_bot.sandbox.plex_tv import Server

README = Path(__file__).parents[2] / "README.md"
TITLES = ["- The Lighthouse Keeper's Accordion", "- Seven Umbrellas", "- Harbour Street: The Wrong Ferry"]
NOTHING = "Nothing is on deck at the servers that answer."
NO_ANSWER = "Plex gives no usable answer at the moment. Please try again later."


def example() -> str:
    (block,) = (
        block
        for block in re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        if "async def setup(bot)" in block
    )
    return block


@dataclass
class Cinema:
    """A bot with PlexLink and the example, and a media server of which plex.tv tells alice."""

    world: World
    server: MediaServer
    admitted: Server

    async def linked(self) -> str:
        await self.world.plexlink()
        token = self.world.approve()
        await self.world.press("I've approved it")
        return token

    async def ask(self) -> str:
        """Return the answer that alice, and nobody else, sees."""
        result = await self.world.alice.slash(self.world.channel, "ondeck")
        assert result.response.flags.ephemeral
        return str(result.response.content)

    def listen(self, name: str) -> list[Any]:
        """Return a list to which an event's values come."""
        heard: list[Any] = []

        async def listener(value: Any) -> None:
            heard.append(value)

        self.world.env.bot.add_listener(listener, name)
        return heard

    def offer(self, *connections: Connection, **others: Any) -> None:
        """Let plex.tv tell of the server with these addresses instead of its own."""
        (servers,) = self.world.plex.servers.values()
        servers[:] = [replace(self.admitted, connections=connections or self.admitted.connections, **others)]

    @property
    def address(self) -> str:
        return self.admitted.connections[0].uri


@asynccontextmanager
async def a_cinema(data_dir: Path, monkeypatch: pytest.MonkeyPatch, films: tuple[Film, ...]) -> AsyncIterator[Cinema]:
    (data_dir / "on_deck.py").write_text(example(), encoding="utf-8")
    monkeypatch.syspath_prepend(data_dir)
    async with MediaServer(films=films) as server, a_world(data_dir / "bot") as world:
        monkeypatch.setenv("PLEXLINK_PLEX_URL", world.plex.url)
        await world.env.bot.load_extension("on_deck")
        await world.env.bot.tree.sync()
        admitted = server.admit()
        world.plex.share(admitted)
        try:
            yield Cinema(world, server, admitted)
        finally:
            await world.env.bot.unload_extension("on_deck")
            sys.modules.pop("on_deck", None)


@pytest.fixture
def films() -> tuple[Film, ...]:
    return FILMS


@pytest.fixture
async def cinema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, films: tuple[Film, ...]) -> AsyncIterator[Cinema]:
    async with a_cinema(tmp_path, monkeypatch, films) as cinema:
        yield cinema


def test_the_example_is_short() -> None:
    lines = [line for line in example().splitlines() if line.strip()]
    assert len(lines) < 60
    assert max(map(len, lines)) <= 120


async def test_member_who_is_linked_sees_what_is_on_deck(cinema: Cinema) -> None:
    await cinema.linked()
    assert (await cinema.ask()).splitlines() == TITLES


async def test_member_who_is_not_linked_is_told_how(cinema: Cinema) -> None:
    assert await cinema.ask() == "You have not linked a Plex account yet. Type /plexlink."
    assert not cinema.server.requests


async def test_member_whose_sign_in_plex_ended_is_told_how_to_link_again(cinema: Cinema) -> None:
    cinema.world.plex.revoke(await cinema.linked())
    deaths = cinema.listen("on_plexlink_token_dead")
    for _ in range(26):  # it is noticed within a day
        if not deaths:
            await cinema.world.advance(3600)
    assert await cinema.ask() == "Plex ended our sign-in. Type /plexlink to link again."
    assert not cinema.server.requests


async def test_listeners_hear_of_links_what_the_readme_says(cinema: Cinema) -> None:
    linked, unlinked = cinema.listen("on_plexlink_linked"), cinema.listen("on_plexlink_unlinked")
    token = await cinema.linked()
    await cinema.world.press("Not me: undo")
    (first,), (last,) = linked, unlinked
    assert first.user_id == last.user_id == cinema.world.alice.id
    assert first.link_id == last.link_id
    assert first.at <= last.at <= cinema.world.env.now()
    assert token not in f"{first} {last}"


async def test_member_is_answered_while_plexlink_is_away(cinema: Cinema) -> None:
    await cinema.world.stop()
    try:
        assert await cinema.ask() == "Links cannot be read at the moment. Please try again later."
    finally:
        with cinema.world.env._bot_scope():
            await cinema.world.env.bot.load_extension("plexlink")


async def test_every_call_says_which_device_asks_and_holds_no_secret_in_its_address(
    cinema: Cinema, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = await cinema.linked()
    await cinema.ask()
    (asked,) = [call for call in cinema.world.plex.requests if call.operation is Operation.RESOURCES]
    (deck,) = cinema.server.requests
    client_identifier = cinema.world.pin().client_identifier
    assert (asked.headers["X-Plex-Token"], deck["X-Plex-Token"]) == (token, cinema.admitted.access_token)
    for headers in (asked.headers, deck):
        assert headers["X-Plex-Client-Identifier"] == client_identifier
    said = f"{asked.path} {asked.query} {caplog.text}"
    assert not [secret for secret in (token, client_identifier, cinema.admitted.access_token) if secret in said]


@pytest.mark.parametrize("films", [()])
async def test_nothing_on_deck_is_said_and_not_asked_twice(cinema: Cinema) -> None:
    await cinema.linked()
    cinema.offer(*cinema.admitted.connections * 2)
    assert await cinema.ask() == NOTHING
    assert len(cinema.server.requests) == 1


async def test_what_is_no_server_is_not_asked(cinema: Cinema) -> None:
    await cinema.linked()
    player = {"provides": "client,player", "accessToken": cinema.admitted.access_token, "publicAddressMatches": True}
    player["connections"] = [{"uri": cinema.address, "local": True, "relay": False}]
    cinema.world.plex.fail(faults.Body(json.dumps([player]).encode()), calls=Operation.RESOURCES)
    assert await cinema.ask() == NOTHING
    assert not cinema.server.requests


@pytest.mark.parametrize(
    ("films", "seen"),
    [
        ((Film("*Bold* [x](http://a.example)", 1),), r"- \*Bold\* \[x](http://a.example)"),
        ((Film("line\n# head", 1, series="\n> a"),), r"- \> a: line # head"),
        ((Film("https://a.example/_x_", 1),), r"- https://a.example/\_x\_"),
        ((Film("# head `code` ||spoiler||", 1),), r"- \# head \`code\` \|\|spoiler\|\|"),
    ],
)
async def test_title_cannot_format_the_answer(cinema: Cinema, seen: str) -> None:
    await cinema.linked()
    assert await cinema.ask() == seen


@pytest.mark.parametrize("films", [tuple(Film("_" * 500, year) for year in range(200))])
async def test_answer_fits_into_a_message(cinema: Cinema) -> None:
    await cinema.linked()
    answer = await cinema.ask()
    assert len(answer.splitlines()) == 10
    assert len(answer) <= 2000


FAULTS: list[faults.Fault] = [
    *(faults.ServerError(503), faults.Reset(), faults.Html(200), faults.JsonError(401, 1001), faults.ForeignJson(200)),
    *(faults.Huge(2**24), faults.DeepJson(), faults.Redirect(), faults.Body(b"[" + b" " * 2**21 + b"]")),
    *(faults.Body(body) for body in (b"null", b"[1]", b'[{"provides":null}]')),
    faults.Body(b"[]", status=404),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: repr(fault)[:40])
async def test_member_is_told_when_plex_gives_no_usable_answer(cinema: Cinema, fault: faults.Fault) -> None:
    await cinema.linked()
    cinema.world.plex.fail(fault, calls=Operation.RESOURCES, times=None)
    assert await cinema.ask() == NO_ANSWER
    cinema.world.plex.heal()
    assert (await cinema.ask()).splitlines() == TITLES


async def test_redirect_takes_no_token_elsewhere(cinema: Cinema) -> None:
    await cinema.linked()
    async with PlexTV() as elsewhere:
        cinema.world.plex.fail(faults.Redirect(f"{elsewhere.url}/api/v2/resources"), calls=Operation.RESOURCES)
        assert await cinema.ask() == NO_ANSWER
        assert not elsewhere.requests


async def test_server_that_is_away_is_left_out(cinema: Cinema) -> None:
    await cinema.linked()
    async with MediaServer(films=[Film("Elsewhere", 2001)]) as other:
        cinema.world.plex.share(other.admit())
        await cinema.server.stop()
        assert await cinema.ask() == "- Elsewhere"
    assert await cinema.ask() == NOTHING


async def test_ways_to_a_server_are_tried_at_home_first_and_through_the_relay_last(cinema: Cinema) -> None:
    await cinema.linked()
    knocks: list[str] = []
    async with AsyncExitStack() as doors:

        async def way(name: str, scheme: str, *, local: bool, relay: bool) -> Connection:
            async def knock(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                knocks.append(name)
                writer.close()
                await writer.wait_closed()

            door = await doors.enter_async_context(await asyncio.start_server(knock, "127.0.0.1", 0))
            port = door.sockets[0].getsockname()[1]
            return Connection(uri=f"{scheme}://127.0.0.1:{port}", local=local, relay=relay)

        cinema.offer(
            await way("relay", "https", local=False, relay=True),
            await way("far", "https", local=False, relay=False),
            await way("home", "http", local=True, relay=False),
            await way("relay at home", "http", local=True, relay=True),
        )
        assert await cinema.ask() == NOTHING
    # aiohttp knocks twice where a door is shut in its face.
    assert list(dict.fromkeys(knocks)) == ["home", "far", "relay at home", "relay"]


@pytest.mark.parametrize(
    ("way", "is_near"),
    [({"local": False}, True), ({"local": False, "relay": True}, True), ({"local": True}, False)],
    ids=["over the internet", "by relay", "in a home network elsewhere"],
)
async def test_nobody_is_sent_a_token_in_the_clear_but_at_home(
    cinema: Cinema, way: Mapping[str, bool], *, is_near: bool
) -> None:
    await cinema.linked()
    cinema.offer(Connection(uri=cinema.address, **way), is_near=is_near)
    assert await cinema.ask() == NOTHING
    assert not cinema.server.requests


async def test_example_that_is_unloaded_leaves_no_session_open(cinema: Cinema) -> None:
    bot = cinema.world.env.bot
    web = bot.get_cog("OnDeck").web
    await bot.unload_extension("on_deck")
    assert web.closed
    await bot.load_extension("on_deck")
