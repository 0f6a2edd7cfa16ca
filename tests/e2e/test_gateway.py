"""The gateway breaks, repeats itself and says odd things, and the bot as a process goes on."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from plexlink_bot.sandbox.plex_tv import Hang, Operation
from processes import PATIENCE_SECONDS, code_of, deployment
from small_discord import InteractionState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from processes import BotProcess, Deployment
    from small_discord import Interaction, Message

UNTIDY = ("nclosed", "Task was destroyed", "never awaited", "never retrieved", "Warning:")
NOBODYS = "A" * 22


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path) as place:
        yield place


async def all_of(folder: Path, *stories: Callable[[Deployment], Awaitable[None]]) -> None:
    """Let stories that mostly wait happen at the same time, each in a place of its own.

    Raises:
        ExceptionGroup: what went wrong, each with its story.
    """

    async def tell(number: int, story: Callable[[Deployment], Awaitable[None]]) -> None:
        (own := folder / str(number)).mkdir()
        async with deployment(own) as place:
            await story(place)

    results = await asyncio.gather(*(tell(*each) for each in enumerate(stories)), return_exceptions=True)
    wrong = [error for error in results if isinstance(error, Exception)]
    for story, error in zip(stories, results, strict=True):
        if isinstance(error, Exception):
            error.add_note(f"in {story}")
    if wrong:
        raise ExceptionGroup("Some stories went wrong", wrong)


def assert_tidy(bot: BotProcess, *untidy: str) -> None:
    assert not [line for line in bot.log.splitlines() if any(word in line for word in (*UNTIDY, *untidy))], bot.log


async def resumed(place: Deployment, times: int) -> None:
    await place.discord.until(
        lambda: place.discord.resumed >= times, what=f"{times} resumed sessions", timeout=PATIENCE_SECONDS
    )


async def link_on(place: Deployment, card: Message) -> None:
    """Go on from a waiting card to the link."""
    place.plex.approve(code_of(card))
    await place.press(card, "I've approved it")
    assert await place.card_saying("Linked as alice") is card


async def approval_while_the_gateway_is_gone(place: Deployment) -> None:
    bot = await place.start()
    card = await place.waiting_card()

    place.discord.refuse_gateway = True
    await place.discord.drop_gateway()
    await bot.logged("Attempting a reconnect")
    place.plex.approve(code_of(card))
    assert await place.card_saying("Linked as alice") is card
    assert place.discord.connected == 0

    # discord.py tries to resume only once; after that it is a new session.
    place.discord.refuse_gateway = False
    await place.discord.wait_ready(2, timeout=2 * PATIENCE_SECONDS)
    await place.answer_saying(await place.plexlink(), "Linked as alice")
    assert await bot.terminate() == 0
    assert_tidy(bot)


async def approval_while_all_of_discord_is_gone(place: Deployment) -> None:
    bot = await place.start()
    card = await place.waiting_card()

    await place.discord.stop()
    place.plex.approve(code_of(card))
    await bot.logged("link.linked")
    await bot.logged("card.failed")
    await place.discord.start()

    assert await place.card_saying("Linked as alice") is card
    await place.discord.wait_ready(2, timeout=2 * PATIENCE_SECONDS)
    await place.answer_saying(await place.plexlink(), "Linked as alice")
    assert await bot.terminate() == 0
    assert_tidy(bot)


async def test_approval_while_discord_is_gone_is_shown_as_soon_as_it_can_be(tmp_path: Path) -> None:
    await all_of(tmp_path, approval_while_the_gateway_is_gone, approval_while_all_of_discord_is_gone)


UNLUCKY = """
from plexlink_bot import app, cli
class Unlucky(app.PlexLinkBot):
    async def launch_shard(self, *arguments, **options):
        await super().launch_shard(*arguments, **options)
        backoff = self.get_shard(0)._parent._backoff
        backoff._exp, backoff._randfunc = 50, max  # many tries were in vain, and the dice show the most
app.PlexLinkBot = Unlucky
cli.main()
"""


async def test_gateway_that_was_gone_for_long_is_looked_for_every_minute(place: Deployment) -> None:
    bot = await place.start(arguments=("-c", UNLUCKY, "run"))
    place.discord.refuse_gateway = True
    await place.discord.drop_gateway()
    assert " in 64.00s" in await bot.logged("Attempting a reconnect")
    assert await bot.terminate() == 0


IMPATIENT = """
from plexlink_bot import app, cli
class Impatient(app.PlexLinkBot):
    def __init__(self, settings):
        super().__init__(settings)
        self._connection.heartbeat_timeout = 0.5  # discord.py's own is a minute
app.PlexLinkBot = Impatient
cli.main()
"""


async def test_gateway_that_acknowledges_no_heartbeat_is_left_and_found_again(place: Deployment) -> None:
    place.discord.heartbeat_seconds = 0.2
    bot = await place.start(arguments=("-c", IMPATIENT, "run"))
    card = await place.waiting_card()

    place.discord.silent_gateway = True
    await resumed(place, 1)
    place.discord.silent_gateway = False
    await bot.logged("bot.resumed shard=0")

    await place.discord.click(place.alice, card, label="Cancel", while_away=True)
    await place.card_saying("Cancelled")
    assert place.discord.identified == 1
    assert await bot.terminate() == 0
    assert_tidy(bot)


async def test_commands_and_presses_of_the_time_away_are_answered_unless_they_are_too_old(place: Deployment) -> None:
    bob = place.join("bob")
    bot = await place.start()
    card = await place.waiting_card()

    place.discord.stalled_gateway = True
    await place.discord.drop_gateway()
    old = await place.discord.slash(bob, "plexlink", guild=place.guild, while_away=True)
    old_press = await place.discord.click(place.alice, card, label="New code", while_away=True)
    for lost in (old, old_press):
        lost.created_at -= timedelta(seconds=4)
    press = await place.discord.click(place.alice, card, label="Cancel", while_away=True)
    command = await place.discord.slash(bob, "plexlink", guild=place.guild, while_away=True)
    for young in (press, command):
        young.created_at += timedelta(minutes=1)  # young enough, however long the bot takes to come back
    assert place.discord.connected == 0
    place.discord.stalled_gateway = False

    await place.card_saying("Your code:", user=bob)
    await place.answer_saying(command, "I sent you a direct message")
    assert await place.card_saying("Cancelled") is card
    assert {old.state, old_press.state} == {InteractionState.UNANSWERED}
    assert len(place.plex.pins) == 2
    assert await bot.terminate() == 0
    assert bot.log.count("interaction.not_deferred") == 2
    assert_tidy(bot)


def attempts(place: Deployment) -> int:
    with closing(sqlite3.connect(place.data_dir / "plexlink.sqlite3")) as database:
        ((count,),) = database.execute("SELECT count(*) FROM plexlink_attempts").fetchall()
    return int(count)


async def pressed_twice(place: Deployment, card: Message, label: str) -> Interaction:
    press = await place.press(card, label)
    await place.discord.tell(press)
    return press


async def all_arrives_twice(place: Deployment, *, dms_closed: int | None) -> None:
    place.alice.dms_closed = dms_closed
    bot = await place.start()
    told: list[Interaction] = [await place.plexlink()]
    await place.discord.tell(told[0])

    async def card_saying(text: str, *, but_not: str = "\0") -> Message:
        if dms_closed is None:
            return await place.card_saying(text, but_not=but_not)
        return await place.answer_saying(told[0], text, but_not=but_not)

    card = await card_saying("Your code:")
    first = code_of(card)
    told.append(await pressed_twice(place, card, "New code"))
    await card_saying("Your code:", but_not=first)
    told.append(await pressed_twice(place, card, "I've approved it"))
    await card_saying("Plex has not seen your approval yet")
    told.append(await pressed_twice(place, card, "Cancel"))
    await card_saying("Cancelled")
    told.append(await pressed_twice(place, card, "Start again"))
    await card_saying("Your code:")
    place.plex.approve(place.pin().code)
    await card_saying("Linked as alice")
    told.append(await pressed_twice(place, card, "Not me: undo"))
    await card_saying("Undone")
    for interaction in told:
        await place.discord.tell(interaction)  # and much later

    last = await place.plexlink()
    await place.discord.until(lambda: last.response and not last.response.loading, what="the answer")
    assert await bot.terminate() == 0
    callbacks = [one.path for one in place.discord.requests if one.path.endswith("/callback")]
    assert len(callbacks) == len(told) + 1 == len(set(callbacks))
    assert len(place.plex.pins) == attempts(place) == 4
    assert not [followup for interaction in told for followup in interaction.followups]
    assert_tidy(bot, "Traceback", " ERROR ")


async def test_interaction_that_arrives_twice_counts_once(tmp_path: Path) -> None:
    await all_of(tmp_path, *(partial(all_arrives_twice, dms_closed=code) for code in (None, 50007)))


async def is_sent_away_in_the_middle_of_a_link(place: Deployment, *, trouble: str) -> None:
    discord = place.discord
    bot = await place.start()
    place.plex.fail(Hang(), calls=Operation.CREATE_PIN)
    command = await place.plexlink()
    await place.plex.received(Operation.CREATE_PIN)

    if trouble == "reconnect":
        await discord.reconnect_gateway()
    else:
        await discord.invalidate_gateway(resumable=trouble == "invalid-but-resumable")
    await discord.until(
        lambda: discord.identified + discord.resumed == 2, what="the bot at the gateway", timeout=PATIENCE_SECONDS
    )
    place.plex.heal()

    await place.answer_saying(command, "I sent you a direct message")
    await link_on(place, await place.card_saying("Your code:"))
    assert discord.identified == (2 if trouble == "invalid" else 1)
    assert await bot.terminate() == 0
    assert_tidy(bot, "Traceback", " ERROR ")


async def test_gateway_that_sends_the_bot_away_in_the_middle_of_a_link_disturbs_nobody(tmp_path: Path) -> None:
    troubles = ("reconnect", "invalid-but-resumable", "invalid")
    await all_of(tmp_path, *(partial(is_sent_away_in_the_middle_of_a_link, trouble=trouble) for trouble in troubles))


GONE = object()


async def tell_oddly(place: Deployment, model: Interaction, **changes: Any) -> Interaction:
    """Tell the bot of a new interaction like `model`, changed in some places."""
    odd = place.discord.interact(model.type, model.user, model.channel, model.message)
    event = model.event | {"id": str(odd.id), "token": odd.token} | changes
    odd.event = {name: value for name, value in event.items() if value is not GONE}
    await place.discord.tell(odd)
    return odd


def a_press(custom_id: str, **more: Any) -> dict[str, Any]:
    return {"id": 9, "component_type": 2, "custom_id": custom_id, **more}


async def test_interactions_with_odd_contents_do_no_harm(place: Deployment) -> None:
    mallory = place.join("mallory")
    bot = await place.start()
    command = await place.plexlink()
    card = await place.card_saying("Your code:")
    press = await place.press(card, "I've approved it")
    own = dict(card.buttons)["Cancel"]
    named = command.event["data"]
    odd_presses = [
        a_press(f"plexlink:check:{NOBODYS}"),
        a_press("plexlink:check:1"),
        a_press("plexlink:another:0"),
        a_press("plexlink:explode:1"),
        a_press("plexlink:check:"),
        a_press("plexlink:check:../../etc/passwd"),
        a_press("plexlink:check:" + "x" * 85),
        a_press("plexlink:check:\u0661\u0662"),
        a_press(own.upper()),
        a_press(f"{own}\n"),
        a_press("\u202e\0'; DROP TABLE plexlink_attempts; --"),
        a_press("another bot's"),
    ]
    told = [
        await tell_oddly(place, command, locale="tlh", guild_locale="??"),
        await tell_oddly(place, command, app_permissions=GONE, guild=GONE, entitlements=[], attachment_size_limit=0),
        await tell_oddly(place, command, data=named | {"name": "plexlonk"}),
        await tell_oddly(place, command, data=named | {"options": [{"name": "x", "type": 3, "value": "y"}]}),
        await tell_oddly(place, command, data=named | {"something": "new"}, something="new"),
        await tell_oddly(place, command, context=2, authorizing_integration_owners={"1": str(place.alice.id)}),
        await tell_oddly(place, command, type=99),
        await tell_oddly(place, command, type=4, data=named | {"options": []}),
        *[await tell_oddly(place, press, data=data) for data in odd_presses],
        await tell_oddly(place, press, type=5, data={"custom_id": own, "components": []}),
        await tell_oddly(place, press, data=a_press(own, component_type=3, values=["x"])),
        await tell_oddly(place, press, data=a_press(own, component_type=99)),
        await tell_oddly(place, press, data=a_press(own), user=press.event["user"] | {"id": str(mallory.id)}),
    ]

    await link_on(place, card)
    last = await place.plexlink()
    await place.answer_saying(last, "Linked as alice")
    await place.discord.until(
        lambda: not [one for one in told if one.response is not None and one.response.loading], what="all answers"
    )
    assert await bot.terminate() == 0
    assert len(place.plex.pins) == attempts(place) == 1
    assert place.discord.dm(mallory) == []
    assert_tidy(bot)
