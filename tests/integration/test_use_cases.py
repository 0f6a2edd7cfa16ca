"""The use cases alone, on a real database, without plex.tv, agenda and notifier: they decide, commit, and ring."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from plexlink import flow
from plexlink.bell import Bell
from plexlink.clock import Clock
from plexlink.events import CardPressed, Checked, CheckWanted, Linked, Pressed, Unlinked
from plexlink.ledger import Ledger
from plexlink.linking import AlreadyOpen, Begun, Linking, TooBusy
from plexlink.links import Done, Links, NotLinked, Status
from plexlink.models import (
    Account,
    Answer,
    Attempt,
    Card,
    Finding,
    GivenUp,
    Lane,
    Notice,
    Origin,
    Phase,
    Place,
    Reason,
    SignOut,
    State,
    Topic,
    Wish,
)
from plexlink.secret import Secret
from plexlink.store import Database, Store
from plexlink.surface import messages
from plexlink.vault import Key, KeyRing, Vault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plexlink.bell import Happened

NOW = datetime(2026, 11, 23, tzinfo=UTC)
RING = KeyRing({"a": Key("a", bytes(32))})
DM = Place(lane=Lane.DM, channel_id=1, message_id=2)
IN_ANSWER = Place(lane=Lane.ANSWER, message_id=1)
ACCOUNT = Account(id=Secret("7"), name=Secret("alice"), is_managed=False)


@dataclass
class Desk:
    """The use cases, and what the bell told of them."""

    ledger: Ledger
    linking: Linking
    links: Links
    bell: Bell
    heard: list[Happened] = field(default_factory=list)

    def told(self) -> list[Happened]:
        """Return what was told since the last look."""
        heard, self.heard[:] = list(self.heard), []
        return heard

    async def open_attempt(self) -> Attempt:
        async with self.ledger.change() as change:
            attempt = await change.tx.attempts.open_of(42)
        assert attempt is not None
        return attempt

    async def waiting(self, place: Place = DM, *, after: Attempt | None = None) -> Attempt:
        """Bring a member's attempt to where a code is on the card, which may be that of another one."""
        begins = self.linking.new_code(after.id, a_wish(1, Origin.ANSWER)) if after else self.linking.start(a_wish(1))
        assert await begins == Begun()
        pin = flow.PinCreated(Secret("1"), Secret("CODE"), NOW + timedelta(minutes=15))
        attempt = await self.ledger.advance(await self.open_attempt(), pin)
        attempt = await self.ledger.shown(attempt, Card.WAITING, place)
        self.told()
        return attempt

    async def linked(self, place: Place = DM, *, after: Attempt | None = None) -> Attempt:
        approved = await self.ledger.advance(
            await self.waiting(place, after=after), flow.Granted(Secret("a-token-of-plex"))
        )
        after = await self.ledger.decide(approved, ACCOUNT)
        self.told()
        return after


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    async with Database.open(database_url) as database:
        vault = Vault(ring=RING, records=Vault.first_records(RING), reload=lambda: RING)
        clock, bell = Clock(now=lambda: NOW, monotonic=lambda: 0.0), Bell()
        ledger = Ledger(store=Store(database=database, vault=vault), clock=clock, bell=bell)
        desk = Desk(
            ledger,
            Linking(ledger=ledger, clock=clock, max_pending=1),
            Links(ledger=ledger, bell=bell, clock=clock, audit_days=365),
            bell,
        )
        bell.listen(desk.heard.append)
        yield desk


def a_wish(message_id: int, origin: Origin = Origin.COMMAND, user_id: int = 42) -> Wish:
    answer = Answer(message_id=message_id, token=Secret(f"interaction-{message_id}"), at=NOW)
    place = DM if origin is Origin.CARD else Place()
    return Wish(user_id=user_id, guild_id=None, device_name="d", origin=origin, answer=answer, place=place)


async def test_a_start_is_told_when_it_is_committed(desk: Desk) -> None:
    assert await desk.linking.start(a_wish(1)) == Begun()
    (attempt,) = desk.told()
    assert isinstance(attempt, Attempt)
    assert (attempt.state, attempt.answer) == (State.REQUESTED, a_wish(1).answer)
    assert attempt == await desk.open_attempt()
    assert isinstance(await desk.linking.start(a_wish(2, user_id=43)), TooBusy)
    assert desk.told() == [], "nothing has happened"


async def test_a_change_that_fails_is_told_to_nobody(desk: Desk) -> None:
    async def fail() -> None:
        async with desk.ledger.change() as change:
            await change.add(flow.begin(user_id=1, guild_id=None, device_name="", place=DM, answer=None, now=NOW))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert desk.told() == []


async def test_who_presses_a_message_has_the_card_already(desk: Desk) -> None:
    attempt = await desk.waiting()
    assert await desk.linking.start(a_wish(2, Origin.CARD)) == AlreadyOpen(DM)
    assert desk.told() == [replace(attempt, shown_state=None)]


async def test_a_press_that_asks_plex_changes_nothing(desk: Desk) -> None:
    attempt = await desk.waiting()
    assert await desk.linking.check_now(attempt.id, a_wish(2, Origin.CARD)) == Done()
    assert desk.told() == [CardPressed(a_wish(2).answer), Pressed(attempt)]


async def test_a_cancelled_code_is_told_with_what_is_left_to_be_done(desk: Desk) -> None:
    attempt = await desk.waiting()
    assert await desk.linking.cancel(attempt.id, a_wish(2, Origin.CARD)) == Done()
    cancelled, pressed, given_up = desk.told()
    assert pressed == CardPressed(a_wish(2).answer)
    assert isinstance(cancelled, Attempt)
    assert cancelled.state is State.CANCELLED
    assert isinstance(given_up, GivenUp)
    assert (given_up.id, given_up.pin_id) == (attempt.id, attempt.pin_id)


async def test_what_comes_too_late_is_answered_by_the_card_as_it_is(desk: Desk) -> None:
    attempt = await desk.linked()
    assert await desk.linking.cancel(attempt.id, a_wish(2, Origin.CARD)) == Done()
    told, _ = desk.told()
    assert isinstance(told, Attempt)
    assert (told.state, told.shown_state) == (State.LINKED, None)


async def test_a_late_press_brings_no_card_back_into_an_answer_that_another_one_has(desk: Desk) -> None:
    first = await desk.waiting(IN_ANSWER)
    await desk.ledger.shown(await desk.ledger.advance(first, flow.RanOut()), Card.EXPIRED, IN_ANSWER)
    second = await desk.linked(IN_ANSWER, after=first)
    assert (await desk.ledger.shown(second, Card.LINKED, IN_ANSWER)).answer is None
    assert await desk.linking.new_code(first.id, a_wish(1, Origin.ANSWER)) == Begun()
    third = await desk.open_attempt()
    desk.told()
    assert await desk.linking.check_now(second.id, a_wish(1, Origin.ANSWER)) == Done()
    (told,) = desk.told()
    assert told == replace(third, shown_state=None)


@pytest.mark.parametrize("end", ["undo", "unlink"])
async def test_the_end_of_a_link_is_told_with_its_sign_out_and_its_notice(desk: Desk, end: str) -> None:
    attempt = await desk.linked()
    wish = a_wish(2, Origin.CARD)
    outcome = await (desk.linking.undo(attempt.id, wish) if end == "undo" else desk.links.unlink(wish))
    assert outcome == Done()
    events = desk.told()
    retired = [each for each in events if isinstance(each, Notice) and each.topic is Topic.RETIRED]
    assert [each.answer for each in retired] == ([attempt.answer] if end == "undo" else []), "which was still owed"
    told = {type(each): each for each in events if each not in retired}
    sign_out, notice, unlinked = told[SignOut], told[Notice], told[Unlinked]
    assert isinstance(sign_out, SignOut)
    assert isinstance(notice, Notice)
    assert isinstance(unlinked, Unlinked)
    assert sign_out.token == Secret("a-token-of-plex")
    assert (notice.id, notice.phase, notice.place) == (sign_out.id, Phase.SIGNING_OUT, DM)
    assert notice.reason is (Reason.UNDONE if end == "undo" else Reason.UNLINKED)
    assert unlinked.reason == notice.reason


async def test_an_unlinking_is_told_where_the_end_of_an_attempt_was_told(desk: Desk) -> None:
    attempt = await desk.ledger.shown(await desk.linked(IN_ANSWER), Card.LINKED, IN_ANSWER)
    assert (attempt.place, attempt.answer) == (IN_ANSWER, None)
    assert await desk.links.unlink(a_wish(1, Origin.ANSWER)) == Done()
    async with desk.ledger.change() as change:
        assert await change.tx.attempts.shown_in(1) is None
        (notice,) = await change.tx.notices.drawn_in(1)
    assert notice.phase is Phase.SIGNING_OUT


async def test_a_link_is_told_to_other_code_when_it_is_there(desk: Desk) -> None:
    approved = await desk.ledger.advance(await desk.waiting(), flow.Granted(Secret("a-token-of-plex")))
    desk.told()
    await desk.ledger.decide(approved, ACCOUNT)
    assert [type(each) for each in desk.told()] == [Attempt, Linked]


async def test_a_check_waits_for_whoever_makes_it(desk: Desk) -> None:
    await desk.linked()

    def work(happened: Happened) -> None:
        if isinstance(happened, CheckWanted):
            desk.bell.ring(Checked("another", Finding.REJECTED), Checked(happened.link_id, Finding.ALIVE))

    desk.bell.listen(work)
    status = await desk.links.check(42)
    assert getattr(status, "finding", None) is Finding.ALIVE


async def test_who_stumbles_over_what_happened_is_heard_of_and_harms_nobody(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(_: Happened) -> None:
        raise ZeroDivisionError

    stop = desk.bell.listen(stumble)
    desk.bell.listen(desk.heard.append)
    assert await desk.linking.start(a_wish(1)) == Begun()
    assert len(desk.told()) == 2, "those before and after it were told"
    assert "bell.not_heard happened=Attempt" in caplog.text
    stop()
    caplog.clear()
    await desk.linking.start(a_wish(2))
    assert "bell.not_heard" not in caplog.text


async def test_the_second_press_of_a_double_click_leaves_the_card_to_tell_how_it_goes(desk: Desk) -> None:
    await desk.linked()
    wish = a_wish(9, Origin.ANSWER)
    assert await desk.links.unlink(wish) == await desk.links.unlink(wish) == Done()
    assert await desk.links.unlink(a_wish(10, Origin.ANSWER)) == NotLinked()


async def test_a_check_that_takes_long_is_told_to_be_under_way(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.linked()
    monkeypatch.setattr("plexlink.links.PATIENCE_SECONDS", 0.01)
    status = await desk.links.check(42)
    assert isinstance(status, Status)
    assert status.is_asking
    assert "I am asking Plex" in messages.status(status.link, None, status.finding, is_asking=status.is_asking)
