"""The small Discord is close enough to the real one: a real discord.py bot works with it over sockets."""

from __future__ import annotations

import asyncio
import io
import json
import zlib
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import discord as dpy
import pytest
from discord.ext import commands
from discord.gateway import DiscordWebSocket
from discord.http import Route
from yarl import URL

from small_discord import (
    InteractionState,
    InteractionType,
    NotPossibleError,
    SmallDiscord,
    buttons_of,
    text_of,
)

if TYPE_CHECKING:
    import re
    from collections.abc import AsyncIterator

    from small_discord import Guild, Message, User

Json = dict[str, Any]
Socket = aiohttp.ClientWebSocketResponse[bool]

PNG = b"\x89PNG\r\n\x1a\n picture"


class Clock:
    """A clock that tests can put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class ShowAgain(dpy.ui.DynamicItem[dpy.ui.Button[dpy.ui.LayoutView]], template="show-again"):
    """A button that thinks and then answers in private."""

    def __init__(self) -> None:
        super().__init__(dpy.ui.Button(label="Show again", custom_id="show-again"))

    @classmethod
    async def from_custom_id(cls, *_: object) -> ShowAgain:
        return cls()

    async def callback(self, interaction: dpy.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await interaction.followup.send("Here it is")
        await interaction.followup.send("And this", ephemeral=True)


class Refresh(dpy.ui.DynamicItem[dpy.ui.Button[dpy.ui.LayoutView]], template="refresh"):
    """A button that changes its own message at once."""

    def __init__(self) -> None:
        super().__init__(dpy.ui.Button(label="Refresh", custom_id="refresh"))

    @classmethod
    async def from_custom_id(cls, *_: object) -> Refresh:
        return cls()

    async def callback(self, interaction: dpy.Interaction) -> None:
        done = await interaction.response.edit_message(view=Over("Refreshed"), attachments=[])
        assert done is not None
        assert isinstance(done.resource, dpy.InteractionMessage)
        assert done.message_id == done.resource.id


class Cancel(dpy.ui.DynamicItem[dpy.ui.Button[dpy.ui.LayoutView]], template=r"cancel:(?P<code>\w+)"):
    """A button that ends the card later; its state is in the custom id, so it outlives the process."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(dpy.ui.Button(label="Cancel", custom_id=f"cancel:{code}"))

    @classmethod
    async def from_custom_id(cls, _interaction: object, _item: object, match: re.Match[str], /) -> Cancel:
        return cls(match["code"])

    async def callback(self, interaction: dpy.Interaction) -> None:
        await interaction.response.defer()
        await interaction.edit_original_response(view=Over(f"Cancelled {self.code}"), attachments=[])


class Card(dpy.ui.LayoutView):
    """A waiting card, as PlexLink sends it."""

    def __init__(self, code: str) -> None:
        super().__init__(timeout=None)
        self.add_item(
            dpy.ui.Container(
                dpy.ui.TextDisplay("**Link your Plex account**"),
                dpy.ui.Section(f"Your code: {code}", accessory=ShowAgain()),
                dpy.ui.MediaGallery(dpy.MediaGalleryItem("attachment://qr.png", description="A QR code")),
                dpy.ui.ActionRow(
                    dpy.ui.Button(label="Open Plex", url="https://plex.tv/link/?pin=7RQZ"),
                    dpy.ui.Button(label="New code", custom_id="new-code", disabled=True),
                    Cancel(code),
                    Refresh(),
                ),
            )
        )


class Over(dpy.ui.LayoutView):
    """A card that only says how it ended."""

    def __init__(self, text: str) -> None:
        super().__init__(timeout=None)
        self.add_item(dpy.ui.Container(dpy.ui.TextDisplay(text)))


def picture() -> dpy.File:
    return dpy.File(io.BytesIO(PNG), "qr.png", description="A QR code")


class Bot(commands.AutoShardedBot):
    """A bot that behaves as PlexLink's does, without the parts that need Plex."""

    def __init__(self) -> None:
        super().__init__(
            command_prefix=commands.when_mentioned,
            intents=dpy.Intents(guilds=True, messages=True),
            guild_ready_timeout=0.01,
            max_ratelimit_timeout=30,
        )
        self.seen: list[dpy.Interaction] = []
        self.heard: list[dpy.Message] = []

    async def setup_hook(self) -> None:
        self.add_dynamic_items(Cancel, Refresh, ShowAgain)
        for callback in (link, hello, ignored):
            self.tree.command(name=callback.__name__, description="For tests")(callback)
        self.tree.add_command(
            dpy.app_commands.Command(
                name="here",
                description="Only in servers",
                callback=hello,
                allowed_contexts=dpy.app_commands.AppCommandContext(guild=True),
            )
        )
        await self.tree.sync()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Do not wait five seconds between shards, as discord.py does for Discord's sake."""

    async def on_interaction(self, interaction: dpy.Interaction) -> None:
        self.seen.append(interaction)

    async def on_message(self, message: dpy.Message, /) -> None:
        self.heard.append(message)


async def link(interaction: dpy.Interaction) -> None:
    """Send a card by DM, or as the answer where the DM is refused."""
    await interaction.response.defer(ephemeral=True)
    try:
        await interaction.user.send(view=Card("7RQZ"), file=picture(), nonce="attempt-1")
    except dpy.Forbidden:
        await interaction.edit_original_response(view=Card("7RQZ"), attachments=[picture()])
    else:
        await interaction.edit_original_response(content="I sent you a message")


async def hello(interaction: dpy.Interaction) -> None:
    done = await interaction.response.send_message("Hello", ephemeral=True)
    assert done.is_ephemeral()
    assert done.message_id == (await interaction.original_response()).id


async def ignored(_: dpy.Interaction) -> None:
    """Leave the member without an answer."""


@asynccontextmanager
async def running(discord: SmallDiscord) -> AsyncIterator[Bot]:
    """Run a bot until the block ends."""
    sessions = discord.identified + 1
    async with Bot() as bot:
        connection = asyncio.create_task(bot.start(discord.token))
        await discord.wait_ready(sessions)
        yield bot
        await bot.close()
        await connection


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def discord(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SmallDiscord]:
    async with SmallDiscord(now=clock.now) as discord:
        monkeypatch.setattr(Route, "BASE", discord.api_url)
        monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", URL(discord.gateway_url))
        yield discord


@pytest.fixture
def alice(discord: SmallDiscord) -> User:
    return discord.add_user("alice", global_name="Alice")


@pytest.fixture
def club(discord: SmallDiscord, alice: User) -> Guild:
    return discord.add_guild("Film club", [alice])


@pytest.fixture
async def bot(discord: SmallDiscord, club: Guild) -> AsyncIterator[Bot]:  # noqa: ARG001  # known before the start
    async with running(discord) as bot:
        yield bot


@pytest.fixture
async def web(discord: SmallDiscord) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bot {discord.token}"}) as web:
        yield web


async def card_for(discord: SmallDiscord, user: User) -> Message:
    """Let a member ask for a card and return it."""
    interaction = await discord.slash(user, "link")
    await discord.until(lambda: interaction.answer, what="the answer")
    return discord.dm(user)[-1]


# Login, commands, gateway


async def test_bot_logs_in_syncs_its_commands_and_meets_the_guild(discord: SmallDiscord, bot: Bot, club: Guild) -> None:
    await bot.wait_until_ready()
    assert bot.application_id == discord.application_id
    assert [(guild.id, guild.name, guild.unavailable) for guild in bot.guilds] == [(club.id, "Film club", False)]
    assert discord.syncs == 1
    assert sorted(discord.commands[None]) == ["hello", "here", "ignored", "link"]
    assert {command.name for command in await bot.tree.fetch_commands()} == set(discord.commands[None])
    assert (await bot.application_info()).id == discord.application_id


async def test_a_command_keeps_its_id_when_it_is_synchronised_again(discord: SmallDiscord, bot: Bot) -> None:
    before = discord.commands[None]["link"]["id"]
    bot.tree.remove_command("hello")
    await bot.tree.sync()
    assert discord.syncs == 2
    assert discord.commands[None]["link"]["id"] == before
    assert "hello" not in discord.commands[None]


async def test_commands_of_a_guild_are_offered_only_there(
    discord: SmallDiscord, bot: Bot, alice: User, club: Guild
) -> None:
    bot.tree.command(name="local", description="For tests", guild=club)(hello)
    await bot.tree.sync(guild=club)
    interaction = await discord.slash(alice, "local", guild=club)
    await discord.until(lambda: interaction.answer, what="the answer")
    with pytest.raises(NotPossibleError):
        await discord.slash(alice, "local", guild=discord.add_guild("Other club", [alice]))


async def test_wrong_token_fails_at_login(discord: SmallDiscord) -> None:
    async with Bot() as bot:
        with pytest.raises(dpy.LoginFailure):
            await bot.login("wrong")
    assert [request.status for request in discord.requests] == [401]


async def test_each_shard_gets_what_happens_in_its_guilds(monkeypatch: pytest.MonkeyPatch) -> None:
    async with SmallDiscord(shards=2) as discord:
        monkeypatch.setattr(Route, "BASE", discord.api_url)
        bob = discord.add_user("bob")
        club = discord.add_guild("Film club", [bob])
        async with running(discord) as bot:
            await discord.wait_ready(2)
            interaction = await discord.slash(bob, "hello", guild=club)
            await discord.until(lambda: interaction.answer, what="the answer")
            assert bot.shard_count == 2
            assert bot.seen[0].guild == bot.guilds[0]


async def test_a_bot_that_lost_its_connection_resumes_and_misses_nothing(
    discord: SmallDiscord, bot: Bot, alice: User
) -> None:
    await discord.slash(alice, "ignored")
    await discord.drop_gateway()
    await discord.until(lambda: discord.resumed == 1, what="the resumed session")
    interaction = await discord.slash(alice, "hello")
    await discord.until(lambda: interaction.answer, what="the answer")
    assert [seen.id for seen in bot.seen] == [one.id for one in discord.interactions]
    assert discord.identified == 1


async def test_events_of_a_broken_connection_are_replayed(
    discord: SmallDiscord, web: aiohttp.ClientSession, alice: User
) -> None:
    first = await identified(discord, web)
    session_id = (await read(first))["d"]["session_id"]
    await first.close(code=4000)
    await discord.until(lambda: discord.connected == 0, what="the closed connection")
    with pytest.raises(NotPossibleError, match="No bot is connected"):
        await discord.click(alice, await send_card(discord, web, alice), label="Refresh")
    second = await connected(discord, web)
    await second.send_json({"op": 6, "d": {"token": discord.token, "session_id": session_id, "seq": 1}})
    assert [(await read(second))["t"] for _ in range(2)] == ["MESSAGE_CREATE", "RESUMED"]
    await second.close()


async def test_a_bot_that_is_asked_to_reconnect_resumes(discord: SmallDiscord, bot: Bot) -> None:
    await discord.reconnect_gateway()
    await discord.until(lambda: discord.resumed == 1, what="the resumed session")
    assert not bot.is_closed()
    assert discord.identified == 1


@pytest.mark.usefixtures("bot")
async def test_a_bot_whose_session_is_invalid_identifies_again(discord: SmallDiscord, alice: User) -> None:
    await discord.invalidate_gateway()
    await discord.wait_ready(2)
    interaction = await discord.slash(alice, "hello")
    await discord.until(lambda: interaction.answer, what="the answer")


@pytest.mark.usefixtures("bot")
async def test_a_bot_whose_session_is_invalid_but_resumable_resumes(discord: SmallDiscord, alice: User) -> None:
    await discord.invalidate_gateway(resumable=True)
    await discord.slash(alice, "hello", while_away=True)
    interaction = discord.interactions[-1]
    await discord.until(lambda: interaction.answer, what="the answer")
    assert (discord.resumed, discord.identified) == (1, 1)


@pytest.mark.usefixtures("bot")
async def test_a_bot_sends_a_heartbeat_when_it_is_asked_for_one(discord: SmallDiscord) -> None:
    assert await discord.until(lambda: discord.heartbeats, what="the first heartbeat") == 1
    await discord.ask_for_heartbeat()
    assert await discord.until(lambda: discord.heartbeats > 1, what="the heartbeat")


@pytest.mark.usefixtures("club")
async def test_a_bot_whose_heartbeats_are_not_acknowledged_connects_anew_and_resumes(
    discord: SmallDiscord, alice: User
) -> None:
    discord.heartbeat_seconds = 0.1
    async with running(discord) as bot:
        bot._connection.heartbeat_timeout = 0.3  # discord.py's own is a minute
        await discord.drop_gateway()
        await discord.until(lambda: discord.resumed == 1, what="a session with the new timeout")
        discord.silent_gateway = True
        await discord.until(lambda: discord.resumed == 2, what="the resumed session")
        discord.silent_gateway = False
        interaction = await discord.slash(alice, "hello", while_away=True)
        await discord.until(lambda: interaction.answer, what="the answer")
    assert discord.identified == 1


async def test_what_happens_while_the_bot_is_away_is_told_when_it_is_back(
    discord: SmallDiscord, bot: Bot, clock: Clock, alice: User
) -> None:
    card = await card_for(discord, alice)
    discord.refuse_gateway = True
    await discord.drop_gateway()
    with pytest.raises(NotPossibleError, match="No bot is connected"):
        await discord.slash(alice, "hello")
    old = await discord.slash(alice, "hello", while_away=True)
    clock.ahead = timedelta(seconds=4)
    young = await discord.slash(alice, "hello", while_away=True)
    press = await discord.click(alice, card, label="Refresh", while_away=True)
    assert discord.connected == 0
    discord.refuse_gateway = False
    await discord.until(lambda: young.answer and press.answer, what="the answers")
    assert old.state is InteractionState.UNANSWERED
    assert [one.id for one in bot.seen[-3:]] == [old.id, young.id, press.id]


async def test_an_interaction_can_arrive_twice_and_be_told_otherwise(
    discord: SmallDiscord, bot: Bot, alice: User
) -> None:
    hears = asyncio.create_task(bot.wait_for("interaction", check=lambda one: one.locale is dpy.Locale.german))
    interaction = await discord.slash(alice, "ignored")
    await discord.tell(interaction)
    await discord.tell(interaction, locale="de")
    async with asyncio.timeout(180):
        last: dpy.Interaction = await hears
    assert [one.id for one in bot.seen[:2]] == [last.id] * 2 == [interaction.id] * 2
    assert bot.seen[1].data == last.data


async def test_server_that_was_away_has_forgotten_nothing(
    discord: SmallDiscord, web: aiohttp.ClientSession, alice: User
) -> None:
    first = await identified(discord, web)
    session_id = (await read(first))["d"]["session_id"]
    card = await send_card(discord, web, alice)
    before = discord.api_url
    await discord.stop()
    assert first.close_code in {None, 1012}
    await discord.start()
    assert discord.api_url == before
    second = await connected(discord, web)
    await second.send_json({"op": 6, "d": {"token": discord.token, "session_id": session_id, "seq": 2}})
    assert (await read(second))["t"] == "RESUMED"
    assert discord.dm(alice) == [card]
    await first.close()
    await second.close()


async def test_refused_gateway_answers_503(discord: SmallDiscord, web: aiohttp.ClientSession) -> None:
    discord.refuse_gateway = True
    with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
        await web.ws_connect(discord.gateway_url + "?v=10")


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"op": 2, "d": {"token": "wrong", "intents": 0}}, 4004),
        ({"op": 2, "d": {"token": "right", "intents": 0, "shard": [1, 1]}}, 4010),
        ({"op": 6, "d": {"token": "wrong", "session_id": "x", "seq": 1}}, 4004),
        ({"op": 3, "d": {}}, 4003),
        ({"no": "op"}, 4002),
    ],
)
async def test_gateway_closes_with_discords_codes(web: aiohttp.ClientSession, payload: Json, code: int) -> None:
    async with SmallDiscord(token="right") as discord:
        socket = await connected(discord, web)
        await socket.send_json(payload)
        await socket.receive()
        assert socket.close_code == code


async def test_session_that_is_unknown_cannot_be_resumed(discord: SmallDiscord, web: aiohttp.ClientSession) -> None:
    socket = await connected(discord, web)
    await socket.send_json({"op": 6, "d": {"token": discord.token, "session_id": "unknown", "seq": 1}})
    assert await read(socket) == {"op": 9, "d": False}
    await socket.close()


async def test_compressed_gateway_is_one_zlib_stream(discord: SmallDiscord, web: aiohttp.ClientSession) -> None:
    socket = await web.ws_connect(discord.gateway_url + "?v=10&encoding=json&compress=zlib-stream")
    inflate = zlib.decompressobj()
    hello = json.loads(inflate.decompress(await socket.receive_bytes()))
    await socket.send_json({"op": 1, "d": None})
    frame = await socket.receive_bytes()
    assert hello["op"] == 10
    assert frame.endswith(b"\x00\x00\xff\xff")
    assert json.loads(inflate.decompress(frame)) == {"op": 11}
    await socket.close()


async def connected(discord: SmallDiscord, web: aiohttp.ClientSession) -> Socket:
    """Connect to the gateway and read its greeting."""
    socket = await web.ws_connect(discord.gateway_url + "?v=10&encoding=json")
    assert (await read(socket))["op"] == 10
    return socket


async def identified(discord: SmallDiscord, web: aiohttp.ClientSession) -> Socket:
    """Connect to the gateway as a bot that hears of direct messages."""
    socket = await connected(discord, web)
    await socket.send_json({"op": 2, "d": {"token": discord.token, "intents": 1 << 12}})
    return socket


async def read(socket: Socket) -> Json:
    payload: Json = await socket.receive_json(timeout=180)
    return payload


async def send_card(discord: SmallDiscord, web: aiohttp.ClientSession, user: User) -> Message:
    """Send a card by DM without a bot."""
    url = f"{discord.api_url}/channels/{discord.dm_channel(user).id}/messages"
    payload = {"flags": 1 << 15, "components": [TEXT, *row(button("Refresh"))]}
    async with web.post(url, json=payload) as response:
        assert response.status == 200
    return discord.dm(user)[-1]


def row(*buttons: Json) -> list[Json]:
    return [{"type": 1, "components": list(buttons)}]


def button(label: str, **options: object) -> Json:
    return {"type": 2, "style": 2, "label": label, "custom_id": label.lower(), **options}


# Messages and interactions


async def test_a_card_arrives_by_dm_with_text_buttons_and_picture(
    discord: SmallDiscord, bot: Bot, web: aiohttp.ClientSession, alice: User, club: Guild
) -> None:
    interaction = await discord.slash(alice, "link", guild=club)
    answer = await discord.until(lambda: interaction.answer, what="the answer")
    [card] = discord.dm(alice)
    assert text_of(card) == "**Link your Plex account**\nYour code: 7RQZ"
    assert buttons_of(card) == [
        ("Show again", "show-again"),
        ("Open Plex", "https://plex.tv/link/?pin=7RQZ"),
        ("New code", "new-code"),
        ("Cancel", "cancel:7RQZ"),
        ("Refresh", "refresh"),
    ]
    assert card.files == {"qr.png": PNG}
    assert card.nonce == "attempt-1"
    async with web.get(card.attachments[0].url) as response:
        assert (response.content_type, await response.read()) == ("image/png", PNG)
    assert (answer.text, answer.ephemeral_for) == ("I sent you a message", alice.id)
    assert (interaction.state, interaction.type) == (InteractionState.ANSWERED, InteractionType.COMMAND)
    assert bot.seen[0].created_at - interaction.created_at < timedelta(seconds=1)


async def test_the_bot_reads_back_what_it_wrote(discord: SmallDiscord, bot: Bot, alice: User) -> None:
    card = await card_for(discord, alice)
    user = await bot.fetch_user(alice.id)
    assert user.name == "alice"
    assert user.display_name == "Alice"
    message = await (await user.create_dm()).fetch_message(card.id)
    gallery = message.components[0].children[2]  # type: ignore[union-attr]
    assert isinstance(gallery, dpy.MediaGalleryComponent)
    assert gallery.items[0].media.url == card.attachments[0].url
    assert gallery.items[0].description == "A QR code"
    assert message.attachments == []
    assert message.flags.components_v2
    assert message.author == bot.user
    assert [one.id async for one in message.channel.history()] == [card.id]
    assert await discord.until(lambda: [one.id for one in bot.heard], what="the event") == [card.id]


@pytest.mark.parametrize("code", [50007, 50278, 40003])
async def test_closed_dms_refuse_and_the_card_becomes_the_ephemeral_answer(
    discord: SmallDiscord, bot: Bot, alice: User, club: Guild, code: int
) -> None:
    alice.dms_closed = code
    interaction = await discord.slash(alice, "link", guild=club)
    card = await discord.until(lambda: interaction.answer, what="the answer")
    assert discord.dm(alice) == []
    assert card.files == {"qr.png": PNG}
    assert "ephemeral-attachments" in card.attachments[0].url
    with pytest.raises(dpy.Forbidden) as refusal:
        await bot.get_partial_messageable(discord.dm_channel(alice).id).send("Hi")
    assert refusal.value.code == code
    press = await discord.click(alice, card, label="Cancel")
    await discord.until(lambda: press.answer, what="the card's end")
    assert text_of(card) == "Cancelled 7RQZ"


async def test_immediate_answer_is_described_to_the_bot(
    discord: SmallDiscord, bot: Bot, alice: User, club: Guild
) -> None:
    interaction = await discord.slash(alice, "hello", guild=club)
    answer = await discord.until(lambda: interaction.answer, what="the answer")
    assert (answer.text, answer.channel_id) == ("Hello", club.channel.id)
    assert not bot.heard


@pytest.mark.usefixtures("bot")
async def test_deferred_press_edits_the_card_and_its_picture_disappears(
    discord: SmallDiscord, web: aiohttp.ClientSession, alice: User
) -> None:
    card = await card_for(discord, alice)
    address = card.attachments[0].url
    press = await discord.click(alice, card, label="Cancel")
    assert await discord.until(lambda: press.answer, what="the card's end") is card
    assert (text_of(card), card.files, card.edits) == ("Cancelled 7RQZ", {}, 1)
    async with web.get(address) as response:
        assert response.status == 404


@pytest.mark.usefixtures("bot")
async def test_press_can_update_its_message_at_once(discord: SmallDiscord, alice: User) -> None:
    card = await card_for(discord, alice)
    press = await discord.click(alice, card, custom_id="refresh")
    await discord.until(lambda: press.answer, what="the new card")
    assert (text_of(card), card.edits, press.message) == ("Refreshed", 1, card)


@pytest.mark.usefixtures("bot")
async def test_first_followup_fills_a_deferred_answer_and_the_next_is_new(discord: SmallDiscord, alice: User) -> None:
    card = await card_for(discord, alice)
    press = await discord.click(alice, card, label="Show again")
    [further] = await discord.until(lambda: press.followups, what="the follow-up")
    assert press.answer is not None
    assert (press.answer.text, further.text) == ("Here it is", "And this")
    assert {press.answer.ephemeral_for, further.ephemeral_for} == {alice.id}
    assert discord.dm(alice) == [card]


async def test_restarted_bot_meets_the_same_card(discord: SmallDiscord, alice: User) -> None:
    async with running(discord):
        card = await card_for(discord, alice)
    await discord.until(lambda: discord.connected == 0, what="the bot's end")
    async with running(discord):
        press = await discord.click(alice, card, label="Cancel")
        await discord.until(lambda: press.answer, what="the card's end")
    assert (discord.identified, discord.syncs) == (2, 2)
    assert [message.text for message in discord.dm(alice)] == ["Cancelled 7RQZ"]


async def test_restarted_bot_edits_an_ephemeral_answer_until_the_token_dies(
    discord: SmallDiscord, clock: Clock, alice: User
) -> None:
    async with running(discord):
        interaction = await discord.slash(alice, "hello")
        answer = await discord.until(lambda: interaction.answer, what="the answer")
    async with running(discord) as bot:
        webhook = dpy.Webhook.partial(bot.application_id or 0, interaction.token, client=bot)
        await webhook.edit_message(answer.id, content="Hello again")
        assert answer.text == "Hello again"
        with pytest.raises(dpy.NotFound) as unknown:
            await webhook.edit_message(card_id_of_nobody(discord), content="Who?")
        assert unknown.value.code == 10008
        clock.ahead = timedelta(minutes=15)
        with pytest.raises(dpy.HTTPException, match="Invalid Webhook Token") as expired:
            await webhook.edit_message(answer.id, content="Too late")
        assert (expired.value.status, expired.value.code) == (401, 50027)


def card_id_of_nobody(discord: SmallDiscord) -> int:
    return discord.snowflake()


async def test_ephemeral_answers_do_not_exist_for_the_channel(
    discord: SmallDiscord, bot: Bot, alice: User, club: Guild
) -> None:
    interaction = await discord.slash(alice, "hello", guild=club)
    answer = await discord.until(lambda: interaction.answer, what="the answer")
    message = bot.get_partial_messageable(answer.channel_id).get_partial_message(answer.id)
    for attempt in (message.edit(content="Mine"), message.delete(), message.fetch()):
        with pytest.raises(dpy.NotFound) as unknown:
            await attempt
        assert unknown.value.code == 10008


async def test_unanswered_interaction_is_lost_after_three_seconds(
    discord: SmallDiscord, bot: Bot, clock: Clock, alice: User
) -> None:
    hears = asyncio.create_task(bot.wait_for("interaction", timeout=180))
    interaction = await discord.slash(alice, "ignored")
    seen: dpy.Interaction = await hears
    with pytest.raises(dpy.NotFound) as not_yet:
        await seen.edit_original_response(content="Nothing to edit")
    assert not_yet.value.code == 10015
    clock.ahead = timedelta(seconds=3)
    with pytest.raises(dpy.NotFound) as lost:
        await seen.response.send_message("Too late")
    assert lost.value.code == 10062
    assert interaction.state is InteractionState.UNANSWERED


async def test_interaction_is_answered_once(
    discord: SmallDiscord, bot: Bot, web: aiohttp.ClientSession, alice: User
) -> None:
    interaction = await discord.slash(alice, "hello")
    await discord.until(lambda: interaction.answer, what="the answer")
    url = f"{discord.api_url}/interactions/{interaction.id}/{interaction.token}/callback"
    async with web.post(url, json={"type": 4, "data": {"content": "Again"}}) as response:
        assert (response.status, (await response.json())["code"]) == (400, 40060)
    assert len(bot.seen) == 1


async def test_bot_hears_messages_in_the_guilds_channel(discord: SmallDiscord, bot: Bot, club: Guild) -> None:
    hears = asyncio.create_task(bot.wait_for("message", timeout=180))
    sent = await bot.get_partial_messageable(club.channel.id).send("Hello, everybody")
    heard: dpy.Message = await hears
    assert (heard.id, heard.content, heard.guild) == (sent.id, "Hello, everybody", bot.guilds[0])
    assert [message.text for message in discord.lasting(club.channel.id)] == ["Hello, everybody"]


async def test_deleted_messages_are_gone(discord: SmallDiscord, bot: Bot, alice: User) -> None:
    card = await card_for(discord, alice)
    message = bot.get_partial_messageable(card.channel_id).get_partial_message(card.id)
    await message.delete()
    assert (card.deleted, discord.dm(alice)) == (True, [])
    with pytest.raises(dpy.NotFound):
        await message.edit(content="Back")
    with pytest.raises(NotPossibleError, match="does not see"):
        await discord.click(alice, card, label="Cancel")


async def test_original_response_can_be_deleted(discord: SmallDiscord, bot: Bot, alice: User) -> None:
    interaction = await discord.slash(alice, "hello")
    await discord.until(lambda: interaction.answer, what="the answer")
    await bot.seen[0].delete_original_response()
    assert interaction.answer is None


@pytest.mark.usefixtures("bot")
async def test_slash_refuses_what_a_member_could_not_type(discord: SmallDiscord, alice: User, club: Guild) -> None:
    stranger = discord.add_user("stranger")
    with pytest.raises(NotPossibleError, match="/plexlink is not offered in Film club"):
        await discord.slash(alice, "plexlink", guild=club)
    with pytest.raises(NotPossibleError, match="/here is not offered in the bot's DM"):
        await discord.slash(alice, "here")
    with pytest.raises(NotPossibleError, match="stranger is not a member"):
        await discord.slash(stranger, "here", guild=club)
    interaction = await discord.slash(alice, "here", guild=club)
    await discord.until(lambda: interaction.answer, what="the answer")


@pytest.mark.usefixtures("bot")
async def test_click_refuses_what_a_member_could_not_press(discord: SmallDiscord, alice: User) -> None:
    card = await card_for(discord, alice)
    with pytest.raises(NotPossibleError, match="is a link"):
        await discord.click(alice, card, label="Open Plex")
    with pytest.raises(NotPossibleError, match="is disabled"):
        await discord.click(alice, card, label="New code")
    with pytest.raises(NotPossibleError, match="No button 'Unlink'"):
        await discord.click(alice, card, label="Unlink")
    with pytest.raises(NotPossibleError, match="bob does not see"):
        await discord.click(discord.add_user("bob"), card, label="Cancel")


async def test_names_are_unique(discord: SmallDiscord) -> None:
    discord.add_user("alice")
    with pytest.raises(NotPossibleError):
        discord.add_user("alice")


# The rules for messages


async def test_repeated_nonce_stores_one_message_within_some_minutes(
    discord: SmallDiscord, bot: Bot, clock: Clock, alice: User
) -> None:
    dm = bot.get_partial_messageable(discord.dm_channel(alice).id)
    first = await dm.send("Once", nonce="attempt-1")
    assert (await dm.send("Twice", nonce="attempt-1")).id == first.id
    assert (await dm.send("Other", nonce="attempt-2")).id != first.id
    clock.ahead = timedelta(minutes=6)
    assert (await dm.send("Later", nonce="attempt-1")).id != first.id
    assert [message.text for message in discord.dm(alice)] == ["Once", "Other", "Later"]


async def test_edit_keeps_only_the_listed_attachments(discord: SmallDiscord, bot: Bot, alice: User) -> None:
    dm = bot.get_partial_messageable(discord.dm_channel(alice).id)
    files = [dpy.File(io.BytesIO(name.encode()), name) for name in ("a.txt", "b.txt")]
    sent = await dm.send("Files", files=files)
    [message] = discord.dm(alice)
    assert [attachment.filename for attachment in sent.attachments] == ["a.txt", "b.txt"]
    assert await sent.attachments[0].read() == b"a.txt"
    await sent.edit(content="Still both")
    assert list(message.files) == ["a.txt", "b.txt"]
    await sent.edit(attachments=[sent.attachments[1], dpy.File(io.BytesIO(b"new"), "c.txt")])
    assert message.files == {"b.txt": b"b.txt", "c.txt": b"new"}
    await sent.edit(attachments=[])
    assert (message.files, message.text, message.edits) == ({}, "Still both", 3)


async def test_edit_can_turn_a_text_into_a_card_but_never_back(discord: SmallDiscord, bot: Bot, alice: User) -> None:
    dm = bot.get_partial_messageable(discord.dm_channel(alice).id)
    sent = await dm.send("Text")
    with pytest.raises(dpy.HTTPException, match="content"):
        await sent.edit(view=Over("Card"))
    await sent.edit(content=None, view=Over("Card"))
    with pytest.raises(dpy.HTTPException, match="content"):
        await sent.edit(content="Text", view=None)
    assert [message.text for message in discord.dm(alice)] == ["Card"]


async def test_a_new_card_may_show_the_picture_that_is_there(discord: SmallDiscord, bot: Bot, alice: User) -> None:
    card = await card_for(discord, alice)
    await bot.get_partial_messageable(card.channel_id).get_partial_message(card.id).edit(view=Card("NEXT"))
    assert (card.files, buttons_of(card)[3]) == ({"qr.png": PNG}, ("Cancel", "cancel:NEXT"))


V2 = 1 << 15
TEXT: Json = {"type": 10, "content": "Hi"}
PICTURE: Json = {"type": 12, "items": [{"media": {"url": "attachment://qr.png"}}]}


@pytest.mark.parametrize(
    ("payload", "where"),
    [
        pytest.param({"flags": V2, "components": [TEXT], "content": "Hi"}, "content", id="content-in-v2"),
        pytest.param({"flags": V2, "components": [TEXT], "embeds": [{"title": "Hi"}]}, "embeds", id="embed-in-v2"),
        pytest.param({"flags": V2, "components": [TEXT] * 41}, "components", id="too-many"),
        pytest.param({"components": [TEXT]}, "components", id="v2-without-flag"),
        pytest.param({"flags": V2, "components": [TEXT | {"content": "x" * 4001}]}, "components", id="long-text"),
        pytest.param({"flags": V2, "components": [PICTURE]}, "components", id="no-such-file"),
        pytest.param({"flags": V2, "components": [PICTURE | {"items": []}]}, "components", id="empty-gallery"),
        pytest.param({"components": row()}, "components", id="empty-row"),
        pytest.param({"components": row(*(button(str(i)) for i in range(6)))}, "components", id="full-row"),
        pytest.param({"components": row(button("a"), button("a"))}, "components", id="same-custom-id"),
        pytest.param({"components": row(button("a") | {"label": ""})}, "components", id="no-label"),
        pytest.param({"components": row(button("a", style=5))}, "components", id="link-without-url"),
        pytest.param({"components": row(button("x" * 81))}, "components", id="long-label"),
        pytest.param({"content": "x" * 2001}, "content", id="long-content"),
        pytest.param({"content": "Hi", "nonce": "x" * 26}, "nonce", id="long-nonce"),
        pytest.param({"content": "Hi", "attachments": [{"id": "77"}]}, "attachments", id="unknown-attachment"),
    ],
)
async def test_form_that_breaks_a_rule_is_refused_and_nothing_is_stored(
    discord: SmallDiscord, web: aiohttp.ClientSession, payload: Json, where: str
) -> None:
    bob = discord.add_user("bob")
    async with web.post(messages_url(discord, bob), json=payload) as response:
        body = await response.json()
    assert (response.status, body["code"]) == (400, 50035)
    assert list(body["errors"]) == [where]
    assert discord.dm(bob) == []
    discord.violations.clear()  # Discord's description forbids some of these forms too


async def test_empty_message_is_refused(discord: SmallDiscord, web: aiohttp.ClientSession) -> None:
    async with web.post(messages_url(discord, discord.add_user("bob")), json={"content": ""}) as response:
        assert (response.status, (await response.json())["code"]) == (400, 50006)


async def test_uploaded_file_that_no_component_shows_is_refused(discord: SmallDiscord, bot: Bot, alice: User) -> None:
    with pytest.raises(dpy.HTTPException, match=r"qr\.png"):
        await bot.get_partial_messageable(discord.dm_channel(alice).id).send(view=Over("Hi"), file=picture())


def messages_url(discord: SmallDiscord, user: User) -> str:
    return f"{discord.api_url}/channels/{discord.dm_channel(user).id}/messages"


# Errors and faults


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/channels/1", 404, 10003),
        ("/channels/1/messages/1", 404, 10003),
        ("/users/1", 404, 10013),
        ("/webhooks/1/token/messages/@original", 404, 10015),
        ("/applications/1/commands", 403, 20012),
        ("/no/such/thing", 404, 0),
    ],
)
async def test_unknown_things_get_discords_error(
    discord: SmallDiscord, web: aiohttp.ClientSession, path: str, status: int, code: int
) -> None:
    async with web.get(discord.api_url + path) as response:
        assert (response.status, (await response.json())["code"]) == (status, code)
        assert response.headers["Content-Type"] == "application/json"
    discord.violations.clear()  # Discord's description knows no such thing either


async def test_request_without_the_token_is_unauthorized(discord: SmallDiscord) -> None:
    async with aiohttp.ClientSession() as web:
        async with web.get(discord.api_url + "/gateway/bot") as response:
            assert (response.status, await response.json()) == (
                401,
                {"message": "401: Unauthorized", "code": 0},
            )
        async with web.get(discord.api_url + "/gateway") as response:
            assert await response.json() == {"url": discord.gateway_url}


async def test_fault_before_the_work_leaves_nothing_behind(discord: SmallDiscord, bot: Bot, alice: User) -> None:
    fault = discord.fail("POST", "/channels/*/messages", 503)
    dm = bot.get_partial_messageable(discord.dm_channel(alice).id)
    with pytest.raises(dpy.DiscordServerError):
        await dm.send("Lost")
    assert (discord.dm(alice), fault.times) == ([], 0)
    await dm.send("Sent")
    assert [message.text for message in discord.dm(alice)] == ["Sent"]


@pytest.mark.parametrize("status", [503, 0])
async def test_fault_behind_the_work_loses_only_the_answer(
    discord: SmallDiscord, bot: Bot, alice: User, status: int
) -> None:
    discord.fail("POST", "/channels/*/messages", status, before=False)
    dm = bot.get_partial_messageable(discord.dm_channel(alice).id)
    with pytest.raises((dpy.DiscordServerError, aiohttp.ClientConnectionError)):
        await dm.send("Sent", nonce="attempt-1")
    [message] = discord.dm(alice)
    assert (await dm.send("Sent", nonce="attempt-1")).id == message.id
    assert [request.status for request in discord.requests[-2:]] == [status, 200]


async def test_connection_can_be_cut_before_the_work_too(discord: SmallDiscord, bot: Bot, alice: User) -> None:
    discord.fail("POST", "/channels/*/messages", 0)
    with pytest.raises(aiohttp.ClientConnectionError):
        await bot.get_partial_messageable(discord.dm_channel(alice).id).send("Lost")
    assert discord.dm(alice) == []


async def test_fault_can_be_meant_for_one_member(
    discord: SmallDiscord, bot: Bot, web: aiohttp.ClientSession, alice: User
) -> None:
    bob = discord.add_user("bob")
    faults = [
        discord.fail("POST", "/users/@me/channels", 503, user=alice),
        discord.fail("POST", "/channels/*/messages", 503, user=alice),
        discord.fail("POST", "/interactions/*", 400, user=alice),
        discord.fail("POST", "/interactions/*", 400, user=bob, times=5),
    ]
    for user, told in ((bob, 200), (alice, 503), (alice, 200)):
        body = {"recipient_id": str(user.id)}
        async with web.post(f"{discord.api_url}/users/@me/channels", json=body) as response:
            assert response.status == told
        async with web.post(messages_url(discord, user), json={"content": "Hi"}) as response:
            assert response.status == told
    hears = asyncio.create_task(bot.wait_for("interaction", timeout=180))
    interaction = await discord.slash(alice, "ignored")
    seen: dpy.Interaction = await hears
    with pytest.raises(dpy.HTTPException, match="told to answer 400"):
        await seen.response.defer()
    assert interaction.state is InteractionState.UNANSWERED
    assert [fault.times for fault in faults] == [0, 0, 0, 5]


@pytest.mark.parametrize("before", [True, False])
async def test_held_request_waits_before_or_behind_the_work(
    discord: SmallDiscord, bot: Bot, alice: User, *, before: bool
) -> None:
    dm = bot.get_partial_messageable(discord.dm_channel(alice).id)
    hold = discord.hold("POST", "/channels/*/messages", before=before)
    sending = asyncio.create_task(dm.send("Sent"))
    await hold.caught()
    assert len(discord.dm(alice)) == (0 if before else 1)
    hold.release()
    await sending
    assert len(discord.dm(alice)) == 1


async def test_rate_limit_is_waited_for(discord: SmallDiscord, bot: Bot, alice: User) -> None:
    discord.fail("POST", "/channels/*", 429, times=2, headers={"Via": "1.1 google", "Retry-After": "0.01"})
    await bot.get_partial_messageable(discord.dm_channel(alice).id).send("Sent")
    assert [request.status for request in discord.requests[-3:]] == [429, 429, 200]


async def test_rate_limit_without_via_is_raised_at_once(discord: SmallDiscord, bot: Bot, alice: User) -> None:
    discord.fail("POST", "/channels/*", 429, headers={"Retry-After": "600"})
    with pytest.raises(dpy.HTTPException) as limited:
        await bot.get_partial_messageable(discord.dm_channel(alice).id).send("Refused")
    assert limited.value.status == 429
    assert discord.dm(alice) == []


async def test_waiting_in_vain_names_what_and_the_last_requests_without_secrets(
    discord: SmallDiscord, bot: Bot, alice: User
) -> None:
    interaction = await discord.slash(alice, "hello")
    await discord.until(lambda: interaction.answer, what="the answer")
    await bot.seen[0].edit_original_response(content="A secret")
    with pytest.raises(AssertionError) as failure:
        await discord.until(lambda: discord.dm(alice), what="a card", timeout=0.01)
    text = str(failure.value)
    assert text.startswith("a card: not within 0.01 s")
    assert f"'/webhooks/{discord.application_id}/***/messages/@original', status=200" in text
    assert interaction.token not in text + repr(interaction) + repr(discord)
    assert "A secret" not in text + repr(interaction) + repr(discord.messages)
