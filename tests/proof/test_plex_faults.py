"""The real process meets a plex.tv that fails in every way: it heals by itself, keeps small and keeps quiet."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from accounts import account_of
from bad_answers import HARMLESS, SAYS_NOTHING
from plexlink.secret import Cell
from plexlink.vault import KeyRecords, Vault, read_key_file
from plexlink_bot.sandbox.plex_tv import (
    AfterStoring,
    Bom,
    Drip,
    Hang,
    Operation,
    RateLimited,
    Redirect,
    Relabelled,
    Reset,
    ServerError,
    Truncated,
    WrongTypes,
)
from processes import PATIENCE_SECONDS, Deployment, code_of, deployment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plexlink_bot.sandbox.plex_tv import Fault, Pin
    from processes import BotProcess
    from small_discord import Message, User

CALLS = (Operation.CREATE_PIN, Operation.GET_PIN, Operation.USER, Operation.SIGN_OUT)
MEMBERS = 25
CALLS_IN_TEN_MINUTES = 14
"""Fifteen seconds until a call is given up, and half a minute until the next."""
UNTIDY = ("Traceback", "nclosed", "Task was destroyed", "never awaited", "never retrieved", " ERROR ", "Warning:")

SCALED = """
from plexlink.work import agenda, asker, order, presenter, sign_outs
from plexlink import plex
asker.ASKED_AGAIN_SECONDS = order.FIRST_AFTER_SECONDS = order.AGAIN_AFTER_SECONDS = 0.3
plex.pace._PAUSE_SECONDS = plex.pace._LEAST_PAUSE_SECONDS = 0.2
plex.PlexClient.__init__.__kwdefaults__["timeout_seconds"] = 1.5
presenter.HELD_BACK_SECONDS = 0.2
agenda.Agenda.retry.__kwdefaults__["longest_seconds"] = 0.6
sign_outs._FIRST_RETRY_SECONDS = sign_outs._LONGEST_RETRY_SECONDS = 0.3
from plexlink_bot.cli import main
main()
"""
"""The bot, ten times as fast and more where it waits for plex.tv: what failed is asked again in half a second."""


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path, PLEXLINK_LOG_LEVEL="DEBUG") as place:
        yield place


class Elsewhere:
    """A server that nobody has any business with; it counts who comes."""

    def __init__(self) -> None:
        self.visits = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._visit, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/api/v2/pins"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _visit(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        writer.close()


async def link(place: Deployment, user: User) -> tuple[Message, str]:
    """Link a member as fast as the cards come; return the card and the token."""
    await place.plexlink(user)
    card = await place.card_saying("Your code:", user=user)
    token = place.plex.approve(code_of(card), account_of(user.name))
    return await place.card_saying(f"Linked as {user.name}", user=user), token


async def link_and_undo(place: Deployment, user: User) -> str:
    """Link a member who then takes it back; return the token that is to be signed out."""
    card, token = await link(place, user)
    await place.press(card, "Not me: undo", user)
    await place.card_saying("Undone", user=user)
    return token


async def signed_out(place: Deployment, tokens: list[str]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):  # the bot asks once more about each that it has signed out
        await place.plex.until(lambda: not any(map(place.plex.is_alive, tokens)))


def stored_tokens(place: Deployment) -> set[str]:
    """Return the tokens of all links, opened as an operator can who has the key file."""
    with closing(sqlite3.connect(place.data_dir / "plexlink.sqlite3")) as database:
        records = dict(database.execute("SELECT name, value FROM plexlink_keys").fetchall())
        links = database.execute("SELECT id, user_id, token_envelope FROM plexlink_links").fetchall()
    ring = read_key_file(place.data_dir / "plexlink.key")
    vault = Vault(ring=ring, records=KeyRecords(**records), reload=lambda: ring)
    return {
        vault.decrypt(envelope, Cell("plexlink_links", "token_envelope", link_id, user_id)).reveal()
        for link_id, user_id, envelope in links
    }


def most_memory(bot: BotProcess) -> int:
    """Return the most that the process ever had in memory, in kB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{bot.pid}/status").read_text())
    assert found is not None
    return int(found[1])


def assert_tidy(bot: BotProcess) -> None:
    assert not [line for line in bot.log.splitlines() if any(word in line for word in UNTIDY)], bot.log


def asked(place: Deployment, call: Operation) -> int:
    return sum(one.operation == call for one in place.plex.requests)


def does_the_work(fault: Fault) -> bool:
    """Tell whether a token is signed out under this fault, so that another one is needed for the next fault."""
    is_late_reset = isinstance(fault, Reset) and fault.after != "accept"
    return is_late_reset or isinstance(fault, AfterStoring | Truncated | WrongTypes | Drip | Bom | Relabelled)


def arm(place: Deployment, faults: list[Fault], *, times: int) -> None:
    # Where signing out is refused, our device would be removed instead: that meets the same.
    for call in (*CALLS, Operation.DEVICES):
        for fault in faults:
            place.plex.fail(fault, calls=call, times=times)


async def test_twenty_five_members_get_through_every_bad_answer_at_every_call(place: Deployment) -> None:
    async with Elsewhere() as elsewhere:
        faults = [fault for name, fault in SAYS_NOTHING.items() if not name.startswith("429")]
        faults += [*HARMLESS.values(), RateLimited(0), Hang(), Drip(), Redirect(elsewhere.url, status=307)]
        faults.sort(key=does_the_work)
        bot = await place.start(arguments=("-c", SCALED, "run"), PLEXLINK_PLEX_RATE="200")
        await link(place, place.alice)
        before = most_memory(bot)
        for times in (1, 3):
            await get_through(place, faults, times=times)
        assert most_memory(bot) < 1.5 * before
        assert not elsewhere.visits
    assert await bot.terminate() == 0
    assert_tidy(bot)


async def get_through(place: Deployment, faults: list[Fault], *, times: int) -> None:
    """Let members link, every other one of whom takes it back, while each call meets each fault."""
    users = [place.join(f"member{times}{number}") for number in range(MEMBERS)]
    requests = {call: asked(place, call) for call in CALLS}
    arm(place, faults, times=times)
    undone, links = await asyncio.gather(
        asyncio.gather(*(link_and_undo(place, user) for user in users[::2])),
        asyncio.gather(*(link(place, user) for user in users[1::2])),
    )
    await signed_out(place, undone)
    tokens = {token for _, token in links}
    assert all(map(place.plex.is_alive, tokens))
    assert tokens <= stored_tokens(place)
    met = times * sum(not does_the_work(fault) for fault in faults)
    for call in CALLS:
        assert asked(place, call) >= requests[call] + met, call
    place.plex.heal()


async def test_call_that_hangs_is_given_up_and_made_again(place: Deployment) -> None:
    bot = await place.start()
    approved, waiting, asking = (place.join(name) for name in ("approved", "waiting", "asking"))
    cards = [await place.waiting_card(user) for user in (approved, waiting)]
    for user, card, call in zip((approved, waiting), cards, (Operation.USER, Operation.GET_PIN), strict=True):
        place.plex.fail(Hang(), calls=call)
        place.plex.approve(code_of(card), account_of(user.name))
        await hung(place, call)
    place.plex.fail(Hang(), calls=Operation.CREATE_PIN)
    await place.plexlink(asking)
    await hung(place, Operation.CREATE_PIN)

    for user in (approved, waiting):
        await card_in_the_end(place, user, f"Linked as {user.name}")
    await card_in_the_end(place, asking, "Your code:")
    assert [one.status for one in place.plex.requests].count(None) == 3
    assert len(stored_tokens(place)) == 2
    assert await bot.terminate() == 0
    assert_tidy(bot)


async def test_question_that_hangs_holds_up_no_press_and_loses_no_token(place: Deployment) -> None:
    bot = await place.start(PLEXLINK_PLEX_RATE="200")
    pressing, patient, leaving = (place.join(name) for name in ("pressing", "patient", "leaving"))
    card = await place.waiting_card(pressing)
    place.plex.fail(Hang(), calls=Operation.GET_PIN)
    await hung(place, Operation.GET_PIN)
    await place.press(card, "I've approved it", pressing)
    await card_in_the_end(place, pressing, "Plex has not seen your approval yet")
    assert [one.status for one in place.plex.requests].count(None) == 1, "the question still hangs"
    await place.press(card, "Cancel", pressing)
    await card_in_the_end(place, pressing, "Cancelled")

    cards = [await place.waiting_card(user) for user in (patient, leaving)]
    place.plex.fail(Hang(), calls=Operation.GET_PIN, times=None)
    for pin in list(place.plex.pins.values())[-2:]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await place.plex.until(lambda pin=pin: questions_about(place, pin) > 1)  # type: ignore[misc] # bound at once
    kept, left = (place.plex.approve(code_of(card), account_of(code_of(card))) for card in cards)
    await place.press(cards[1], "Cancel", leaving)
    await card_in_the_end(place, leaving, "Cancelled")
    place.plex.heal()
    place.plex.fail(ServerError(503), calls=Operation.GET_PIN, times=None)
    await card_in_the_end(place, patient, "Linked as")
    await signed_out(place, [left])
    assert stored_tokens(place) == {kept}
    assert await bot.terminate() == 0
    assert_tidy(bot)


def questions_about(place: Deployment, pin: Pin) -> int:
    """Return how often the bot has asked about a code, and got no answer."""
    return sum(one.path.endswith(f"/pins/{pin.id}") and one.status is None for one in place.plex.requests)


@dataclass
class Silence:
    """Four members, each of whom waits for another call, and a plex.tv that never comes to the end of an answer."""

    place: Deployment
    fault: Fault
    calls: tuple[Operation, ...]

    async def live(self) -> None:
        """Bear it for as many calls as there are in ten minutes, and get on when it is over."""
        place = self.place
        bot = await place.start(arguments=("-c", SCALED.replace("= 1.5", "= 0.5"), "run"), PLEXLINK_PLEX_RATE="200")
        asking, waiting, approved, leaving = map(place.join, ("asking", "waiting", "approved", "leaving"))
        card, token = await link(place, leaving)
        await place.plexlink(approved)
        approvable = await place.card_saying("Your code:", user=approved)
        place.plex.fail(self.fault, calls=Operation.USER, times=None)
        place.plex.approve(code_of(approvable), account_of(approved.name))
        await place.card_saying("Asking Plex who you are", user=approved)
        await place.plexlink(waiting)
        await place.card_saying("Your code:", user=waiting)
        place.plex.fail(self.fault, times=None)
        await place.press(card, "Not me: undo", leaving)
        command = await place.plexlink(asking)

        await asyncio.gather(
            *(place.plex.received(call, count=asked(place, call) + CALLS_IN_TEN_MINUTES) for call in self.calls)
        )
        await place.answer_saying(command, "Plex does not answer yet")
        await place.card_saying("Undone", user=leaving)
        await place.card_saying("Asking Plex who you are", user=approved)
        waits = await place.card_saying("Your code:", user=waiting)
        place.plex.approve(code_of(waits), account_of(waiting.name))
        await place.plex.received(Operation.GET_PIN, count=asked(place, Operation.GET_PIN) + 2)
        await place.card_saying("Your code:", user=waiting)

        place.plex.heal()
        for user in (waiting, approved):
            await place.card_saying(f"Linked as {user.name}", user=user)
        await place.card_saying("Your code:", user=asking)
        await signed_out(place, [token])
        assert await bot.terminate() == 0
        assert_tidy(bot)


async def bear(folder: Path, fault: Fault, calls: tuple[Operation, ...]) -> None:
    folder.mkdir()  # noqa: ASYNC240 - nothing runs yet
    async with deployment(folder, PLEXLINK_LOG_LEVEL="DEBUG") as place:
        await Silence(place, fault, calls).live()


async def test_answers_that_never_end_are_borne_for_ten_minutes_at_every_call(tmp_path: Path) -> None:
    with_a_body = CALLS[:-1]
    await asyncio.gather(
        bear(tmp_path / "hangs", Hang(), CALLS),
        bear(tmp_path / "drips", Drip(1), with_a_body),
    )


async def hung(place: Deployment, call: Operation) -> None:
    """Wait until a request of this kind has come that nobody answers."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        await place.plex.until(lambda: any((one.operation, one.status) == (call, None) for one in place.plex.requests))


async def card_in_the_end(place: Deployment, user: User, text: str) -> Message:
    """Wait for a card longer than a call may take."""
    return await place.discord.until(
        lambda: next((card for card in place.discord.dm(user) if text in card.text), None),
        what=f"{user.name}: {text}",
        timeout=3 * PATIENCE_SECONDS,
    )
