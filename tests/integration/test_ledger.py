"""The ledger on a real database: what several hands do to one attempt at the same time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from plexlink import cards, flow, whereabouts
from plexlink.bell import Bell
from plexlink.clock import Clock
from plexlink.errors import IllegalTransitionError, UnknownKeyError
from plexlink.ledger import Ledger
from plexlink.models import Account, Answer, Attempt, Card, Lane, Origin, Place, Reason, State, Wish
from plexlink.secret import Secret
from plexlink.store import Database, Store
from plexlink.vault import Key, KeyRing, Vault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOW = datetime(2026, 11, 23, tzinfo=UTC)
RING = KeyRing({"a": Key("a", bytes(32))})
DM = Place(lane=Lane.DM, channel_id=1, message_id=2)
PIN = flow.PinCreated(Secret("1"), Secret("CODE"), NOW + timedelta(minutes=15))
ACCOUNT = Account(id=Secret("7"), name=Secret("alice"), is_managed=False)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database.open(database_url) as database:
        yield database


@pytest.fixture
def store(database: Database) -> Store:
    vault = Vault(ring=RING, records=Vault.first_records(RING), reload=lambda: RING)
    return Store(database=database, vault=vault)


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store=store, clock=Clock(now=lambda: NOW, monotonic=lambda: 0.0), bell=Bell())


def an_answer(message_id: int) -> Answer:
    return Answer(message_id=message_id, token=Secret(f"token-{message_id}"), at=NOW)


async def begun(ledger: Ledger, place: Place = DM, answer: Answer | None = None) -> Attempt:
    attempt = flow.begin(user_id=42, guild_id=None, device_name="d", place=place, answer=answer, now=NOW)
    async with ledger.change() as change:
        await change.add(attempt)
    return attempt


async def waiting(ledger: Ledger, place: Place = DM, answer: Answer | None = None) -> Attempt:
    attempt = await ledger.advance(await begun(ledger, place, answer), PIN)
    return await ledger.shown(attempt, Card.WAITING, place)


async def successor_of(ledger: Ledger, attempt: Attempt) -> Attempt:
    successor = flow.begin(user_id=42, guild_id=None, device_name="d", place=DM, answer=None, now=NOW)
    async with ledger.change() as change:
        await whereabouts.hand_over(change, attempt, successor)
    return successor


async def erase(ledger: Ledger) -> None:
    async with ledger.change() as change:
        link = await change.tx.links.of(42)
        assert link is not None
        await change.remove_link(link, Reason.UNDONE)


async def redraw(ledger: Ledger, attempt: Attempt) -> Attempt:
    async with ledger.change() as change:
        return await change.redraw(attempt)


async def bring(ledger: Ledger, attempt: Attempt, answer: Answer) -> Attempt:
    async with ledger.change() as change:
        await whereabouts.bring(change, attempt, answer)
        return replace(attempt, answer=answer, shown_state=None)


async def press(ledger: Ledger, attempt: Attempt, origin: Origin, answer: Answer, place: Place = DM) -> Attempt:
    wish = Wish(user_id=42, guild_id=None, device_name="d", origin=origin, answer=answer, place=place)
    async with ledger.change() as change:
        return await whereabouts.learn_from_press(change, attempt, wish)


@pytest.mark.parametrize("what", ["redraw", "shown"])
async def test_an_attempt_that_left_its_card_is_not_brought_back(ledger: Ledger, store: Store, what: str) -> None:
    stale = await waiting(ledger)
    await successor_of(ledger, stale)
    await {"redraw": lambda: redraw(ledger, stale), "shown": lambda: ledger.shown(stale, Card.WAITING, DM)}[what]()
    async with store.transaction() as tx:
        kept = await tx.attempts.get(stale.id)
    assert kept is not None
    assert (kept.state, kept.shown_state, kept.place, kept.answer) == (State.CANCELLED, Card.CANCELLED, Place(), None)


async def test_a_late_edit_of_an_attempt_has_its_successor_drawn_again(ledger: Ledger) -> None:
    stale = await waiting(ledger)
    successor = await ledger.shown(await successor_of(ledger, stale), Card.QUEUED, DM)
    outdated = await ledger.shown(stale, Card.WAITING, DM)
    assert (outdated.id, outdated.shown_state) == (successor.id, None)


async def test_a_late_edit_of_an_answer_has_the_end_drawn_again_that_was_told_there(ledger: Ledger) -> None:
    stale = await waiting(ledger, an_answer(1).place, an_answer(1))
    successor = flow.begin(user_id=42, guild_id=None, device_name="d", place=Place(), answer=an_answer(1), now=NOW)
    async with ledger.change() as change:
        await whereabouts.hand_over(change, stale, successor)
    ended = await ledger.advance(successor, flow.Failed(Reason.PLEX_REFUSED))
    told = await ledger.shown(ended, Card.FAILED, an_answer(1).place)
    assert told.answer is None
    outdated = await ledger.shown(stale, Card.WAITING, an_answer(1).place)
    assert (outdated.id, outdated.shown_state, outdated.answer) == (successor.id, None, an_answer(1))


async def test_a_late_edit_does_not_bring_back_the_end_over_which_its_link_was_ended(ledger: Ledger) -> None:
    stale = await waiting(ledger, an_answer(1).place, an_answer(1))
    approved = await ledger.advance(stale, flow.Granted(Secret("a-token-of-plex")))
    await ledger.shown(await ledger.decide(approved, ACCOUNT), Card.LINKED, an_answer(1).place)
    async with ledger.change() as change:
        link = await change.tx.links.of(42)
        assert link is not None
        await whereabouts.end_link(change, link, Reason.UNLINKED, place=an_answer(1).place, answer=an_answer(1))
    assert cards.has_left(await ledger.shown(stale, Card.WAITING, an_answer(1).place))


async def test_a_card_that_was_drawn_where_it_is_no_more_stays_where_it_is(ledger: Ledger) -> None:
    drawn = await begun(ledger, Place())
    elsewhere = replace(DM, message_id=3)
    await press(ledger, drawn, Origin.CARD, an_answer(1), elsewhere)
    seen = await ledger.shown(drawn, Card.QUEUED, DM)
    assert (seen.place, seen.shown_state) == (elsewhere, None)


async def test_a_token_that_is_kept_is_not_signed_out(ledger: Ledger, store: Store) -> None:
    stale, token = await waiting(ledger), Secret("a-token-of-plex")
    approved = await ledger.advance(stale, flow.Granted(token))
    await ledger.disown(stale, token)
    await ledger.decide(approved, ACCOUNT)
    await ledger.disown(stale, token)
    async with store.transaction() as tx:
        assert await tx.sign_outs.ids() == []
    await ledger.disown(stale, Secret("another-token-of-plex"))
    async with store.transaction() as tx:
        assert len(await tx.sign_outs.ids()) == 1


async def test_a_second_new_code_finds_the_first_one_done(ledger: Ledger, store: Store) -> None:
    stale = await waiting(ledger)
    await successor_of(ledger, stale)
    with pytest.raises(IllegalTransitionError):
        await successor_of(ledger, stale)
    async with store.transaction() as tx:
        assert await tx.attempts.open_count() == 1


async def test_a_press_on_an_answer_that_the_card_has_left_does_not_bring_it_back(ledger: Ledger) -> None:
    moved = await bring(ledger, await waiting(ledger, an_answer(1).place, an_answer(1)), an_answer(2))
    assert (await press(ledger, moved, Origin.ANSWER, an_answer(1))).answer == an_answer(2)


async def test_a_press_renews_the_answer_that_shows_the_card(ledger: Ledger) -> None:
    attempt = await waiting(ledger, Place(lane=Lane.ANSWER), an_answer(1))  # as an earlier release left it
    newer = replace(an_answer(1), token=Secret("newer"))
    pressed = await press(ledger, attempt, Origin.ANSWER, newer)
    assert (pressed.answer, pressed.place) == (newer, newer.place)


@pytest.mark.parametrize("end", [flow.Cancelled(), *(flow.Rejected(reason) for reason in Reason)], ids=repr)
async def test_a_token_that_leads_to_no_link_is_signed_out_however_its_attempt_ends(
    ledger: Ledger, store: Store, end: flow.Event
) -> None:
    attempt = await ledger.advance(await waiting(ledger), flow.Granted(Secret("token")))
    await ledger.advance(attempt, end)
    async with store.transaction() as tx:
        (row_id,) = await tx.sign_outs.ids()
        sign_out = await tx.sign_outs.get(row_id)
    assert sign_out is not None
    assert (sign_out.token, sign_out.client_identifier) == (Secret("token"), attempt.client_identifier)


async def test_a_card_drawn_while_it_moved_to_another_answer_is_drawn_again(ledger: Ledger) -> None:
    drawn = await ledger.advance(await begun(ledger, Place(), an_answer(1)), PIN)
    await bring(ledger, drawn, an_answer(2))
    seen = await ledger.shown(drawn, Card.WAITING, an_answer(1).place)
    assert seen.shown_state is None
    assert (seen.answer, seen.place) == (an_answer(2), an_answer(2).place)
    assert (await ledger.shown(seen, Card.WAITING, an_answer(2).place)).shown_state is Card.WAITING


async def test_a_redraw_that_was_asked_for_during_a_draw_is_not_lost(ledger: Ledger) -> None:
    drawn = await waiting(ledger)
    await redraw(ledger, drawn)
    assert (await ledger.shown(drawn, Card.WAITING, DM)).shown_state is None


async def test_a_poll_and_an_edit_that_end_together_both_count(ledger: Ledger, store: Store) -> None:
    stale = await ledger.advance(await begun(ledger, Place(), an_answer(1)), PIN)
    await ledger.advance(stale, flow.Granted(Secret("a-token-of-plex")))
    await ledger.shown(stale, Card.WAITING, DM)
    async with store.transaction() as tx:
        kept = await tx.attempts.get(stale.id)
    assert kept is not None
    assert (kept.state, kept.shown_state, kept.place) == (State.APPROVED, Card.WAITING, DM)


async def test_a_cancel_counts_though_the_code_came_meanwhile(ledger: Ledger) -> None:
    requested = await begun(ledger)
    await ledger.advance(requested, PIN)
    assert (await ledger.advance(requested, flow.Cancelled())).state is State.CANCELLED


async def test_a_link_whose_key_is_missing_is_not_erased(ledger: Ledger, store: Store, database: Database) -> None:
    attempt = await ledger.advance(await waiting(ledger), flow.Granted(Secret("a-token-of-plex")))
    await ledger.decide(attempt, ACCOUNT)
    async with database.transaction() as connection:
        await connection.exec_driver_sql(
            "UPDATE plexlink_links SET token_envelope = replace(token_envelope, 'plk1:a:', 'plk1:gone:')"
        )
    with pytest.raises(UnknownKeyError):
        await erase(ledger)
    async with store.transaction() as tx:
        assert await tx.links.of(42) is not None
        assert await tx.sign_outs.ids() == []


async def test_a_link_whose_name_is_broken_is_still_signed_out(
    ledger: Ledger, store: Store, database: Database
) -> None:
    attempt = await ledger.advance(await waiting(ledger), flow.Granted(Secret("a-token-of-plex")))
    await ledger.decide(attempt, ACCOUNT)
    async with database.transaction() as connection:
        await connection.exec_driver_sql("UPDATE plexlink_links SET account_name_envelope = token_envelope")
    await erase(ledger)
    async with store.transaction() as tx:
        (row_id,) = await tx.sign_outs.ids()
        waiting_row = await tx.sign_outs.get(row_id)
    assert waiting_row is not None
    assert waiting_row.token == Secret("a-token-of-plex")
