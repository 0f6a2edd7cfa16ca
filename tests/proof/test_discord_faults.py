"""Every fault of Discord, once, at every call of the flow: each member meets one, and all end with one true card.

Many members share one bot, each with a fault of their own.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from accounts import account_of
from processes import PATIENCE_SECONDS, code_of, deployment
from small_discord import InteractionType

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from processes import BotProcess, Deployment
    from small_discord import Interaction, Message, User
    from small_discord_model import Fault

GOOGLE = {"Via": "1.1 google", "Retry-After": "1"}
CLOUDFLARE = {"Retry-After": "1"}
FAULTS: dict[str, dict[str, Any]] = {
    "500 before storing": {"status": 500},
    "500 after storing": {"status": 500, "before": False},
    "503 before storing": {"status": 503},
    "503 after storing": {"status": 503, "before": False},
    "cut before storing": {"status": 0},
    "cut after storing": {"status": 0, "before": False},
    "429 of Discord": {"status": 429, "headers": GOOGLE},
    "429 of Cloudflare": {"status": 429, "headers": CLOUDFLARE},
}
AT_ONCE = 24
"""More on a busy machine, and Discord would not wait for the answer to the last command."""
UNTIDY = ("Traceback", "nclosed", "Task was destroyed", "never awaited", "never retrieved", " ERROR ", "Warning:")
REFUSALS = (50007, 50278, 40003)
SHORT_ANSWERS = ("I sent you a direct message", "This card has moved to your newest answer")
NOBODYS = "plexlink:check:" + "A" * 22


@dataclass(frozen=True)
class Call:
    """A request of the flow, and before which step of its member's story it is to fail."""

    method: str
    path: str
    step: str = "command"


CALLBACK = Call("POST", "/interactions/*/callback")
DM_CALLS = {
    "callback": CALLBACK,
    "own answer": Call("GET", "/webhooks/*/@original"),
    "opening": Call("POST", "/users/@me/channels"),
    "message": Call("POST", "/channels/*/messages"),
    "pointer": Call("PATCH", "/webhooks/*"),
    "press": Call("POST", "/interactions/*/callback", "new code"),
    "new card": Call("PATCH", "/channels/*", "new code"),
    "linked card": Call("PATCH", "/channels/*", "approval"),
    "follow-up": Call("POST", "/webhooks/*", "old card"),
}
CLOSED_CALLS = {
    **{name: DM_CALLS[name] for name in ("callback", "own answer", "opening", "message", "press", "follow-up")},
    "card": Call("PATCH", "/webhooks/*"),
    "new card": Call("PATCH", "/webhooks/*", "new code"),
    "linked card": Call("PATCH", "/webhooks/*", "approval"),
}


class Member:
    """A member with a Plex account of the same name, and what the bot has told them."""

    def __init__(self, place: Deployment, name: str, *, dms_closed: int | None = None) -> None:
        self.place = place
        self.name = name
        self.user: User = place.join(name)
        self.user.dms_closed = dms_closed
        self.interactions: list[Interaction] = []
        self.patience = PATIENCE_SECONDS
        self._account = account_of(name)

    async def command(self) -> None:
        """Type /plexlink."""
        self.interactions.append(await self.place.plexlink(self.user))

    async def press(self, card: Message, label: str) -> None:
        """Press a button of a card."""
        self.interactions.append(await self.place.press(card, label, self.user))

    def approve(self, card: Message) -> None:
        """Approve the code that a card shows."""
        self.place.plex.approve(code_of(card), self._account)

    async def card(self, text: str, *, but_not: str = "\0") -> Message:
        """Wait for a card that says `text`."""

        def card() -> Message | None:
            return next((one for one in self.cards() if text in one.text and but_not not in one.text), None)

        found: Message = await self.until(card, f"a card that says {text!r}")
        return found

    async def until(self, predicate: Callable[[], Any], what: str) -> Any:
        """Wait for something that happens to this member."""
        return await self.place.discord.until(predicate, what=f"{what} for {self.name}", timeout=self.patience)

    def cards(self) -> list[Message]:
        """Return what the member has of the bot besides short answers and pointers."""
        answers = (one.answer for one in self.interactions if one.type is InteractionType.COMMAND)
        own = [one for one in answers if one is not None and not any(short in one.text for short in SHORT_ANSWERS)]
        return [*self.place.discord.dm(self.user), *own]

    def wrongs(self) -> Iterator[str]:
        """Name what is not as it should be at the end."""
        cards = self.cards()
        if [self.name in card.text.replace("\\", "") and "Linked as" in card.text for card in cards] != [True]:
            yield f"cards: {[card.text for card in cards]}"
        if any(card.files for card in cards):
            yield "a picture is left"
        if any(one.response is None or one.response.loading for one in self.interactions):
            yield f"thinks for ever: {self.interactions}"


class Story(Member):
    """One member links, asks for another code on the way, and presses a card that nobody knows at the end."""

    def __init__(
        self, place: Deployment, name: str, call: Call, fault: Mapping[str, Any], *, dms_closed: int | None = None
    ) -> None:
        super().__init__(place, name.replace(" ", "-"), dms_closed=dms_closed)
        self._call = call
        self._fault = fault
        self._armed: Fault | None = None

    async def run(self) -> None:
        """Go through all steps, and meet the fault at its own."""
        self._arm("command")
        await self.command()
        card = await self.card("Your code:")
        code = code_of(card)
        if self.user.dms_closed is None:
            await self.until(lambda: self._is_pointed_to(card), "a pointer to the card")

        self._arm("new code")
        await self.press(card, "New code")
        assert await self.card("Your code:", but_not=code) is card

        self._arm("approval")
        self.approve(card)
        assert await self.card("Linked as ") is card

        self._arm("old card")
        await self._press_old(card)

    def _is_pointed_to(self, card: Message) -> bool:
        pointer = self.interactions[0].answer
        return pointer is not None and any(target.endswith(f"/{card.id}") for _, target in pointer.buttons)

    def _arm(self, step: str) -> None:
        if self._call.step != step:
            return
        discord, call = self.place.discord, self._call
        if call.method == "GET":
            # It is only asked for where Discord took the command's acknowledgement and its answer was lost.
            discord.fail("POST", CALLBACK.path, 500, before=False, user=self.user)
        # aiohttp itself repeats a GET whose connection broke.
        times = 2 if call.method == "GET" and self._fault["status"] == 0 else 1
        self._armed = discord.fail(call.method, call.path, **self._fault, times=times, user=self.user)

    async def _press_old(self, card: Message) -> None:
        """Press a button of whose attempt the bot knows nothing: the answer is a message of its own."""
        button, *_ = card.button_parts()
        meant, button["custom_id"] = button["custom_id"], NOBODYS
        press = await self.place.discord.click(self.user, card, custom_id=NOBODYS)
        button["custom_id"] = meant
        self.interactions.append(press)
        await self.until(lambda: [one for one in press.followups if "too old" in one.text], "an answer to the press")

    def wrongs(self) -> Iterator[str]:
        """Name what is not as it should be at the end."""
        yield from super().wrongs()
        if self._armed is None or self._armed.times:
            yield "did not meet the fault"


def report(members: Iterable[Member], results: Iterable[BaseException | None]) -> list[str]:
    """Name the members whose stories went wrong."""
    broken = [
        f"{member.name}: {str(result).partition(chr(10))[0] or repr(result)}"
        for member, result in zip(members, results, strict=True)
        if result is not None
    ]
    return broken + [f"{member.name}: {wrong}" for member in members for wrong in member.wrongs()]


def assert_tidy(bot: BotProcess) -> None:
    untidy = [line for line in bot.log.splitlines() if any(word in line for word in UNTIDY)]
    assert not untidy, "\n".join(untidy)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path, PLEXLINK_MAX_PENDING="200", PLEXLINK_PLEX_RATE="200") as place:
        yield place


async def prove(place: Deployment, stories: Mapping[Member, Callable[[], Awaitable[None]]]) -> None:
    """Let many members go their ways at once, and the bot end; say who ended wrong."""
    room = asyncio.Semaphore(AT_ONCE)

    async def in_turn(story: Callable[[], Awaitable[None]]) -> None:
        async with room:
            await story()

    bot = await place.start(PLEXLINK_LOG_LEVEL="DEBUG")
    results = await asyncio.gather(*map(in_turn, stories.values()), return_exceptions=True)
    wrong = report(stories, results)
    assert not wrong, "\n".join([*wrong, *(line for line in bot.log.splitlines() if " DEBUG " not in line)])
    assert await bot.terminate() == 0
    assert_tidy(bot)


async def test_member_who_takes_messages_ends_with_one_true_card_whatever_discord_does(place: Deployment) -> None:
    stories = [
        Story(place, f"{name} {fault}", call, FAULTS[fault]) for name, call in DM_CALLS.items() for fault in FAULTS
    ]
    await prove(place, {story: story.run for story in stories})


async def test_member_with_closed_messages_ends_with_one_true_card_whatever_discord_does(place: Deployment) -> None:
    codes = itertools.cycle(REFUSALS)
    stories = [
        Story(place, f"{name} {fault}", call, FAULTS[fault], dms_closed=next(codes))
        for name, call in CLOSED_CALLS.items()
        for fault in FAULTS
    ]
    await prove(place, {story: story.run for story in stories})


# Messages are refused not from the beginning, or not where they are sent.


async def opening_is_refused(member: Member, code: int) -> None:
    member.place.discord.fail("POST", "/users/@me/channels", 403, code, user=member.user)
    await member.command()
    member.approve(await member.card("Your code:"))
    assert (await member.card("Linked as ")).ephemeral_for == member.user.id


async def editing_is_refused_for_a_while(member: Member, code: int) -> None:
    await member.command()
    card = await member.card("Your code:")
    member.place.discord.fail("PATCH", "/channels/*", 403, code, times=2, user=member.user)
    member.approve(card)
    assert await member.card("Linked as ") is card


async def messages_are_closed_between_two_codes(member: Member, code: int) -> None:
    await member.command()
    await member.press(await member.card("Your code:"), "Cancel")
    first = await member.card("Cancelled")
    member.user.dms_closed = code
    await member.command()
    second = await member.card("Your code:")
    assert second.ephemeral_for == member.user.id
    member.approve(second)
    assert await member.card("Linked as ") is second
    assert first.text.startswith("## Cancelled")
    first.deleted = True  # the member tidies up


async def messages_are_opened_between_two_codes(member: Member, code: int) -> None:
    member.user.dms_closed = code
    await member.command()
    first = await member.card("Your code:")
    await member.press(first, "Cancel")
    await member.card("Cancelled")
    member.user.dms_closed = None
    await member.command()
    member.approve(await member.card("Your code:"))
    assert (await member.card("Linked as ")).ephemeral_for is None
    assert first.text.startswith("## Cancelled")
    first.deleted = True


async def test_refusal_of_messages_may_come_and_go_at_any_time(place: Deployment) -> None:
    ways = (
        opening_is_refused,
        editing_is_refused_for_a_while,
        messages_are_closed_between_two_codes,
        messages_are_opened_between_two_codes,
    )
    stories = {
        member: partial(way, member, code)
        for way in ways
        for code in REFUSALS
        for member in [Member(place, f"{way.__name__}-{code}".replace("_", "-"))]
    }
    await prove(place, stories)


# Discord keeps a request waiting.


async def answer_is_told_to_wait(member: Member) -> None:
    discord, headers = member.place.discord, GOOGLE | {"Retry-After": "600"}
    discord.fail("PATCH", "/webhooks/*", 429, headers=headers, user=member.user)
    await command_and_link(member)


async def answer_never_comes_back(member: Member) -> None:
    member.place.discord.hold("PATCH", "/webhooks/*", user=member.user)
    await command_and_link(member)


async def edit_never_comes_back(member: Member) -> None:
    member.place.discord.hold("PATCH", "/channels/*", user=member.user)
    await command_and_link(member)


async def message_never_comes_back(member: Member) -> None:
    member.place.discord.hold("POST", "/channels/*/messages", before=False, user=member.user)
    await command_and_link(member)


async def command_and_link(member: Member) -> None:
    """Approve as soon as the code is there, whatever hangs at that moment, and be told all in the end."""
    member.patience = 3 * PATIENCE_SECONDS
    await member.command()
    card = await member.card("Your code:")
    member.approve(card)
    assert await member.card("Linked as ") is card
    await member.until(lambda: not member.interactions[0].response.loading, "the answer to the command")


async def test_request_that_discord_keeps_waiting_holds_up_nothing_else(place: Deployment) -> None:
    ways = (answer_is_told_to_wait, answer_never_comes_back, edit_never_comes_back, message_never_comes_back)
    stories = {
        member: partial(way, member) for way in ways for member in [Member(place, way.__name__.replace("_", "-"))]
    }
    await prove(place, stories)


# A member who does not wait.


async def link_with_all_answered(member: Member) -> None:
    def is_answered() -> bool:
        return len(member.cards()) == 1 and all(one.answer is not None for one in member.interactions)

    await member.until(is_answered, "one card, and an answer to every command")
    member.approve(await member.card("Your code:"))
    await member.card("Linked as ")


async def many_commands_at_once(member: Member) -> None:
    member.interactions += await asyncio.gather(*(member.place.plexlink(member.user) for _ in range(5)))
    await member.card("Your code:")
    await link_with_all_answered(member)


async def command_while_the_first_is_answered(member: Member) -> None:
    held = member.place.discord.hold("PATCH", "/webhooks/*", user=member.user)
    await member.command()
    await held.caught()
    await member.command()
    await member.until(lambda: member.interactions[1].response, "the acknowledgement of the second")
    await asyncio.sleep(0.5)  # nothing outside tells when the bot has noted whom it owes an answer
    held.release()
    await link_with_all_answered(member)


async def command_while_the_message_is_sent(member: Member, failures: int = 0) -> None:
    discord = member.place.discord
    held = discord.hold("POST", "/channels/*/messages", user=member.user)
    await member.command()
    await held.caught()
    discord.fail("PATCH", "/webhooks/*", 0, times=failures, user=member.user)
    await member.command()
    await member.until(lambda: member.interactions[1].response, "the acknowledgement of the second")
    await asyncio.sleep(0.5)  # nothing outside tells when the bot has noted whom it owes an answer
    held.release()
    await link_with_all_answered(member)


async def command_that_takes_over_in_vain_at_first(member: Member) -> None:
    await command_while_the_message_is_sent(member, failures=2)


async def test_every_command_is_answered_though_many_come_at_once(place: Deployment) -> None:
    stories = {
        member: partial(way, member)
        for way in (
            many_commands_at_once,
            command_while_the_first_is_answered,
            command_while_the_message_is_sent,
            command_that_takes_over_in_vain_at_first,
        )
        for code in (None, REFUSALS[0])
        for member in [Member(place, f"{way.__name__}-{code}".replace("_", "-"), dms_closed=code)]
    }
    await prove(place, stories)
    assert len(place.plex.pins) == len(stories)
