"""What the other tests trust the small Discord for, shown by a real discord.py bot that works with it over sockets."""

from __future__ import annotations

import asyncio
import io
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

from small_discord import InteractionState, NotPossibleError, SmallDiscord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from small_discord import Guild, Interaction, Message, User

Json = dict[str, Any]

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


class Card(dpy.ui.LayoutView):
    """A waiting card, as PlexLink sends it."""

    def __init__(self) -> None:
        super().__init__(timeout=None)
        self.add_item(
            dpy.ui.Container(
                dpy.ui.TextDisplay("Your code: 7RQZ"),
                dpy.ui.MediaGallery(dpy.MediaGalleryItem("attachment://qr.png", description="A QR code")),
                dpy.ui.ActionRow(
                    dpy.ui.Button(label="Open Plex", url="https://plex.tv/link/?pin=7RQZ"),
                    dpy.ui.Button(label="New code", custom_id="new-code", disabled=True),
                    ShowAgain(),
                ),
            )
        )


def picture() -> dpy.File:
    return dpy.File(io.BytesIO(PNG), "qr.png", description="A QR code")


class Bot(commands.AutoShardedBot):
    """A bot that behaves as PlexLink's does, without the parts that need Plex."""

    def __init__(self) -> None:
        super().__init__(
            command_prefix=commands.when_mentioned,
            intents=dpy.Intents(guilds=True),
            guild_ready_timeout=0.01,
            max_ratelimit_timeout=30,
        )
        self.seen: list[dpy.Interaction] = []

    async def setup_hook(self) -> None:
        self.add_dynamic_items(ShowAgain)
        for callback in (link, hello, ignored):
            self.tree.command(name=callback.__name__, description="For tests")(callback)
        await self.tree.sync()

    async def on_interaction(self, interaction: dpy.Interaction) -> None:
        self.seen.append(interaction)


async def link(interaction: dpy.Interaction) -> None:
    """Send a card by DM, or as the answer where the DM is refused."""
    await interaction.response.defer(ephemeral=True)
    try:
        await interaction.user.send(view=Card(), file=picture(), nonce="attempt-1")
    except dpy.Forbidden:
        await interaction.edit_original_response(view=Card(), attachments=[picture()])
    else:
        await interaction.edit_original_response(content="I sent you a message")


async def hello(interaction: dpy.Interaction) -> None:
    await interaction.response.defer(ephemeral=True)
    await interaction.edit_original_response(content="Hello")


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
    return discord.add_user("alice")


@pytest.fixture
def club(discord: SmallDiscord, alice: User) -> Guild:
    return discord.add_guild("Film club", [alice])


@pytest.fixture
async def bot(discord: SmallDiscord, club: Guild) -> AsyncIterator[Bot]:  # noqa: ARG001  # known before the start
    async with running(discord) as bot:
        yield bot


@pytest.fixture
def dm(discord: SmallDiscord, bot: Bot, alice: User) -> dpy.PartialMessageable:
    """Where the bot writes to alice."""
    return bot.get_partial_messageable(discord.dm_channel(alice).id)


async def answered(discord: SmallDiscord, user: User, name: str, *, guild: Guild | None = None) -> Interaction:
    """Let a member type a command, and wait for its answer."""
    interaction = await discord.slash(user, name, guild=guild)
    await discord.until(lambda: interaction.answer, what="the answer")
    return interaction


async def heard(discord: SmallDiscord, bot: Bot, user: User) -> tuple[Interaction, dpy.Interaction]:
    """Let a member type a command that is not answered, and wait until the bot hears of it."""
    hears = asyncio.create_task(bot.wait_for("interaction", timeout=180))
    interaction = await discord.slash(user, "ignored")
    return interaction, await hears


async def card_for(discord: SmallDiscord, user: User) -> Message:
    """Let a member ask for a card and return it."""
    await answered(discord, user, "link")
    return discord.dm(user)[-1]


# The gateway


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


# Answers to interactions


async def test_interaction_is_acknowledged_once_and_within_three_seconds(
    discord: SmallDiscord, bot: Bot, clock: Clock, alice: User
) -> None:
    interaction, seen = await heard(discord, bot, alice)
    with pytest.raises(dpy.NotFound) as not_yet:
        await seen.edit_original_response(content="Nothing to edit")
    clock.ahead = timedelta(seconds=3)
    with pytest.raises(dpy.NotFound) as lost:
        await seen.response.defer()
    assert (not_yet.value.code, lost.value.code) == (10015, 10062)
    assert interaction.state is InteractionState.UNANSWERED

    _, seen = await heard(discord, bot, alice)
    await seen.response.defer()
    seen.response._response_type = None  # discord.py refuses by itself to answer twice
    with pytest.raises(dpy.HTTPException) as again:
        await seen.response.defer()
    assert (again.value.status, again.value.code) == (400, 40060)


async def test_ephemeral_answer_is_its_members_and_exists_for_its_token_only_which_dies_after_15_minutes(
    discord: SmallDiscord, clock: Clock, alice: User, club: Guild
) -> None:
    async with running(discord):
        interaction = await answered(discord, alice, "hello", guild=club)
    answer = interaction.answer
    assert answer is not None
    assert (answer.text, answer.ephemeral_for) == ("Hello", alice.id)
    assert discord.lasting(club.channel.id) == []
    async with running(discord) as bot:
        with pytest.raises(dpy.NotFound) as unseen:
            await bot.get_partial_messageable(answer.channel_id).get_partial_message(answer.id).edit(content="Mine")
        webhook = dpy.Webhook.partial(bot.application_id or 0, interaction.token, client=bot)
        await webhook.edit_message(answer.id, content="Hello again")
        assert answer.text == "Hello again"
        with pytest.raises(dpy.NotFound) as unknown:
            await webhook.edit_message(discord.snowflake(), content="Who?")
        assert (unseen.value.code, unknown.value.code) == (10008, 10008)
        clock.ahead = timedelta(minutes=15)
        with pytest.raises(dpy.HTTPException, match="Invalid Webhook Token") as expired:
            await webhook.edit_message(answer.id, content="Too late")
        assert (expired.value.status, expired.value.code) == (401, 50027)


@pytest.mark.usefixtures("bot")
async def test_first_followup_fills_a_deferred_answer_and_the_next_is_new(discord: SmallDiscord, alice: User) -> None:
    card = await card_for(discord, alice)
    press = await discord.click(alice, card, label="Show again")
    [further] = await discord.until(lambda: press.followups, what="the follow-up")
    assert press.answer is not None
    assert (press.answer.text, further.text) == ("Here it is", "And this")
    assert {press.answer.ephemeral_for, further.ephemeral_for} == {alice.id}
    assert discord.dm(alice) == [card]


@pytest.mark.usefixtures("bot")
async def test_member_can_do_only_what_discord_offers(discord: SmallDiscord, alice: User, club: Guild) -> None:
    card, stranger = await card_for(discord, alice), discord.add_user("stranger")
    with pytest.raises(NotPossibleError, match="/plexlink is not offered in Film club"):
        await discord.slash(alice, "plexlink", guild=club)
    with pytest.raises(NotPossibleError, match="stranger does not see"):
        await discord.click(stranger, card, label="Show again")
    for label, why in {"Open Plex": "is a link", "New code": "is disabled", "Unlink": "No button 'Unlink'"}.items():
        with pytest.raises(NotPossibleError, match=why):
            await discord.click(alice, card, label=label)


# The rules for messages


@pytest.mark.parametrize("code", [50007, 50278, 40003])
async def test_closed_dms_refuse_and_the_card_becomes_the_ephemeral_answer(
    discord: SmallDiscord, dm: dpy.PartialMessageable, alice: User, club: Guild, code: int
) -> None:
    alice.dms_closed = code
    card = (await answered(discord, alice, "link", guild=club)).answer
    assert card is not None
    assert (card.files, card.ephemeral_for, discord.dm(alice)) == ({"qr.png": PNG}, alice.id, [])
    club.members.append(bob := discord.add_user("bob"))
    with pytest.raises(NotPossibleError, match="bob does not see"):
        await discord.click(bob, card, label="Show again")
    with pytest.raises(dpy.Forbidden) as refusal:
        await dm.send("Hi")
    assert refusal.value.code == code


async def test_repeated_nonce_stores_one_message_within_some_minutes(
    discord: SmallDiscord, dm: dpy.PartialMessageable, clock: Clock, alice: User
) -> None:
    first = await dm.send("Once", nonce="attempt-1")
    assert (await dm.send("Twice", nonce="attempt-1")).id == first.id
    assert (await dm.send("Other", nonce="attempt-2")).id != first.id
    clock.ahead = timedelta(minutes=6)
    assert (await dm.send("Later", nonce="attempt-1")).id != first.id
    assert [message.text for message in discord.dm(alice)] == ["Once", "Other", "Later"]


async def test_edit_keeps_only_the_listed_attachments_and_a_deleted_message_is_unknown(
    discord: SmallDiscord, dm: dpy.PartialMessageable, alice: User
) -> None:
    sent = await dm.send("Files", files=[dpy.File(io.BytesIO(name.encode()), name) for name in ("a.txt", "b.txt")])
    [message] = discord.dm(alice)
    await sent.edit(content="Still both")
    assert list(message.files) == ["a.txt", "b.txt"]
    await sent.edit(attachments=[sent.attachments[1], dpy.File(io.BytesIO(b"new"), "c.txt")])
    assert message.files == {"b.txt": b"b.txt", "c.txt": b"new"}
    await sent.edit(attachments=[])
    assert (message.files, message.text, message.edits) == ({}, "Still both", 3)
    message.deleted = True
    with pytest.raises(dpy.NotFound) as unknown:
        await sent.edit(content="Back")
    assert (unknown.value.code, discord.dm(alice)) == (10008, [])


def row(*buttons: Json) -> list[Json]:
    return [{"type": 1, "components": list(buttons)}]


def button(label: str, **options: object) -> Json:
    return {"type": 2, "style": 2, "label": label, "custom_id": label.lower(), **options}


TEXT: Json = {"type": 10, "content": "Hi"}
PICTURE: Json = {"type": 12, "items": [{"media": {"url": "attachment://qr.png"}}]}


def v2(*components: Json, **more: object) -> Json:
    return {"flags": 1 << 15, "components": list(components), **more}


@pytest.mark.parametrize(
    ("payload", "where"),
    [
        (v2(TEXT, content="Hi"), "content"),
        (v2(*[TEXT] * 41), "components"),
        (v2(TEXT | {"content": "x" * 4001}), "components"),
        (v2(PICTURE), "components"),
        ({"components": [TEXT]}, "components"),
        ({"components": row(*(button(str(i)) for i in range(6)))}, "components"),
        ({"components": row(button("a"), button("a"))}, "components"),
        ({"components": row(button("x" * 81))}, "components"),
        ({"content": "x" * 2001}, "content"),
        ({"content": "Hi", "nonce": "x" * 26}, "nonce"),
        ({"content": "Hi", "attachments": [{"id": "77"}]}, "attachments"),
        ({"content": ""}, None),
    ],
)
async def test_form_that_breaks_a_rule_is_refused_and_nothing_is_stored(
    discord: SmallDiscord, payload: Json, where: str | None
) -> None:
    bob = discord.add_user("bob")
    url = f"{discord.api_url}/channels/{discord.dm_channel(bob).id}/messages"
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bot {discord.token}"}) as web,
        web.post(url, json=payload) as response,
    ):
        body = await response.json()
    assert (response.status, body["code"]) == (400, 50035 if where else 50006)
    assert list(body.get("errors", ())) == ([where] if where else [])
    assert discord.dm(bob) == []
    discord.violations.clear()  # Discord's description forbids some of these forms too


async def test_uploaded_file_that_no_component_shows_is_refused(dm: dpy.PartialMessageable) -> None:
    view = dpy.ui.LayoutView().add_item(dpy.ui.TextDisplay("Hi"))
    with pytest.raises(dpy.HTTPException, match=r"qr\.png"):
        await dm.send(view=view, file=picture())


# Faults


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("status", [503, 0])
async def test_fault_leaves_nothing_behind_or_loses_only_the_answer(
    discord: SmallDiscord, dm: dpy.PartialMessageable, alice: User, status: int, *, before: bool
) -> None:
    fault = discord.fail("POST", "/channels/*/messages", status, before=before)
    with pytest.raises((dpy.DiscordServerError, aiohttp.ClientConnectionError)):
        await dm.send("Sent", nonce="attempt-1")
    stored = discord.dm(alice)
    assert (len(stored), fault.times) == (0 if before else 1, 0)
    again = await dm.send("Sent", nonce="attempt-1")
    assert before or again.id == stored[0].id
    assert [message.text for message in discord.dm(alice)] == ["Sent"]
    assert [request.status for request in discord.requests[-2:]] == [status, 200]


async def test_fault_can_be_meant_for_one_member(discord: SmallDiscord, bot: Bot, alice: User) -> None:
    bob = discord.add_user("bob")
    discord.fail("POST", "/channels/*/messages", 503, user=alice)
    discord.fail("POST", "/interactions/*", 400, user=bob)
    discord.fail("POST", "/interactions/*", 400, user=alice)
    await bot.get_partial_messageable(discord.dm_channel(bob).id).send("Hi")
    with pytest.raises(dpy.DiscordServerError):
        await bot.get_partial_messageable(discord.dm_channel(alice).id).send("Hi")
    interaction, seen = await heard(discord, bot, alice)
    with pytest.raises(dpy.HTTPException, match="told to answer 400"):
        await seen.response.defer()
    assert interaction.state is InteractionState.UNANSWERED
    assert [fault.times for fault in discord.faults] == [0, 1, 0]


async def test_rate_limit_is_waited_for_unless_it_is_cloudflares(
    discord: SmallDiscord, dm: dpy.PartialMessageable, alice: User
) -> None:
    discord.fail("POST", "/channels/*", 429, times=2, headers={"Via": "1.1 google", "Retry-After": "0.01"})
    await dm.send("Sent")
    assert [request.status for request in discord.requests[-3:]] == [429, 429, 200]
    discord.fail("POST", "/channels/*", 429, headers={"Retry-After": "600"})
    with pytest.raises(dpy.HTTPException) as limited:
        await dm.send("Refused")
    assert limited.value.status == 429
    assert [message.text for message in discord.dm(alice)] == ["Sent"]
