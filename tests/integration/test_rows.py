"""What the rows of the store promise, on each engine that they can lie on."""

from __future__ import annotations

import asyncio
import traceback
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from plexlink import cards, flow
from plexlink.audit import SOMEBODY
from plexlink.errors import ConflictError, StoreError
from plexlink.models import Answer, Attempt, Card, Lane, Link, Place, Reason, State, Topic, Trouble
from plexlink.secret import Cell, Secret
from plexlink.store import Database, Store, tables
from plexlink.store.signatures import SIGNED
from plexlink.vault import KeyRing, Vault
from rows import (
    FIRST,
    NOW,
    PIN_CREATED,
    B,
    a_link,
    a_notice,
    a_sign_out,
    a_vault,
    assert_is_a_sentence,
    begun,
    full,
    keep,
    opened,
    planted,
    rows_of,
    spoil,
    write_everything,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database.open(database_url) as database:
        yield database


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database=database, vault=a_vault())


# --- transactions ---


async def test_two_read_modify_writes_at_once_lose_nothing(database: Database) -> None:
    await keep(database, {"counter": "0"})

    async def count() -> None:
        async with database.transaction() as connection:
            value = await connection.scalar(select(tables.keys.c.value))
            await asyncio.sleep(0)
            await connection.execute(update(tables.keys).values(value=str(int(value) + 1)))

    await asyncio.gather(*(count() for _ in range(20)))
    assert await rows_of(database) == {"counter": "20"}


async def test_transaction_that_raises_keeps_nothing(store: Store) -> None:
    attempt = begun()

    async def fail() -> None:
        async with store.transaction() as tx:
            await tx.attempts.add(attempt)
            assert await tx.attempts.get(attempt.id) == attempt
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with store.transaction() as tx:
        assert await tx.attempts.get(attempt.id) is None


async def test_cancelled_transaction_keeps_nothing_and_blocks_nobody(store: Store) -> None:
    attempt, is_written = begun(), asyncio.Event()

    async def write() -> None:
        async with store.transaction() as tx:
            await tx.attempts.add(attempt)
            is_written.set()
            await asyncio.Event().wait()

    writing = asyncio.ensure_future(write())
    await is_written.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    async with store.transaction() as tx:
        assert await tx.attempts.get(attempt.id) is None


async def test_what_the_database_refuses_is_a_store_error_without_the_values(store: Store) -> None:
    attempt = full()

    async def add_none() -> None:
        async with store.transaction() as tx:
            await tx.attempts.add(replace(attempt, device_name=None))  # type: ignore[arg-type]

    with pytest.raises(StoreError) as raised:
        await add_none()
    assert_is_a_sentence(raised.value)
    assert attempt.id not in str(raised.value)
    assert attempt.device_name not in "".join(traceback.format_exception(raised.value))


# --- key records ---


async def test_a_database_that_holds_data_is_not_a_new_one_though_its_key_table_is_empty(
    store: Store, database: Database
) -> None:
    assert await database.key_records(lambda: FIRST) == FIRST
    await keep(database, {})
    async with store.transaction() as tx:
        await tx.attempts.add(begun())
    with pytest.raises(StoreError, match="key table is empty"):
        await database.key_records(lambda: FIRST)


async def test_first_key_records_are_those_of_whoever_came_first(database_url: str) -> None:
    async with Database.open(database_url) as database, Database.visit(database_url) as other:
        both = await asyncio.gather(
            database.key_records(lambda: FIRST),
            other.key_records(lambda: {"primary": "b", "canary": "two"}),
        )
        assert both[0] == both[1] == await rows_of(database)
    async with Database.open(database_url) as database:
        assert await database.key_records(dict) == both[0]


# --- attempts ---


@pytest.mark.parametrize("attempt", [begun(), full()], ids=["new", "full"])
async def test_attempt_comes_back_as_it_was_after_a_restart(database_url: str, attempt: Attempt) -> None:
    async with opened(database_url) as store, store.transaction() as tx:
        await tx.attempts.add(attempt)
    async with opened(database_url) as store, store.transaction() as tx:
        assert await tx.attempts.get(attempt.id) == attempt
        assert await tx.attempts.get("another") is None


async def test_instants_come_back_aware_in_utc_whatever_zone_they_had(store: Store) -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    attempt = begun(requested_at=elsewhere)
    async with store.transaction() as tx:
        await tx.attempts.add(attempt)
        kept = await tx.attempts.get(attempt.id)
    assert kept is not None
    assert (kept.requested_at, kept.requested_at.utcoffset()) == (NOW, timedelta(0))


async def test_naive_instant_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match=r"must be aware|ValueError"):
        async with store.transaction() as tx:
            await tx.attempts.add(begun(requested_at=NOW.replace(tzinfo=None)))


async def test_move_writes_state_and_secrets_and_leaves_the_surface(store: Store) -> None:
    attempt = begun(answer=Answer(message_id=1, token=planted("interaction-token"), at=NOW))
    shown = replace(attempt, shown_state=Card.QUEUED, place=Place(lane=Lane.DM, channel_id=5, message_id=6))
    pending = flow.advance(attempt, PIN_CREATED, NOW)
    async with store.transaction() as tx:
        await tx.attempts.add(attempt)
        await tx.attempts.show(shown)
        await tx.attempts.move(pending)
        assert await tx.attempts.get(attempt.id) == replace(pending, shown_state=Card.QUEUED, place=shown.place)


async def test_show_writes_the_surface_and_leaves_state_and_secrets(store: Store) -> None:
    attempt = begun()
    pending = flow.advance(attempt, PIN_CREATED, NOW)
    async with store.transaction() as tx:
        await tx.attempts.add(attempt)
        await tx.attempts.move(pending)
        await tx.attempts.show(replace(attempt, shown_state=Card.QUEUED))
        assert await tx.attempts.get(attempt.id) == replace(pending, shown_state=Card.QUEUED)


async def test_database_enforces_one_open_attempt_a_member(store: Store) -> None:
    first = begun()
    async with store.transaction() as tx:
        await tx.attempts.add(first)
        await tx.attempts.add(begun(user_id=43))
    with pytest.raises(ConflictError):
        async with store.transaction() as tx:
            await tx.attempts.add(begun())
    async with store.transaction() as tx:
        await tx.attempts.move(flow.advance(first, flow.Cancelled(), NOW))
        second = begun()
        await tx.attempts.add(second)
        assert await tx.attempts.open_of(42) == second
        assert await tx.attempts.open_of(44) is None


def attempts_of_all_kinds() -> list[Attempt]:
    """Return attempts in every state, shown as every card, and answered or not, each of its own member."""
    answers = [None, Answer(message_id=1, token=planted("interaction-token"), at=NOW)]
    reasons = {State.LINKED: [None, Reason.UNDONE, Reason.REPLACED], State.REFUSED: [Reason.TAKEN]}
    found = [
        begun(
            state=state,
            reason=reason,
            shown_state=card,
            place=Place(lane=lane),
            answer=answer,
            ended_at=None if state in flow.OPEN else NOW,
        )
        for state in State
        for reason in reasons.get(state, [None])
        for card in [None, *Card]
        for lane in [None, *Lane]
        for answer in answers
    ]
    return [replace(attempt, user_id=1000 + number) for number, attempt in enumerate(found)]


async def test_every_unsettled_attempt_is_unfinished(store: Store) -> None:
    attempts = attempts_of_all_kinds()
    async with store.transaction() as tx:
        for attempt in attempts:
            await tx.attempts.add(attempt)
        unfinished = await tx.attempts.unfinished()
    kept = {attempt.id for attempt in unfinished}
    assert {attempt.id for attempt in attempts if not cards.is_settled(attempt)} <= kept
    idle = {attempt.id for attempt in attempts if cards.is_settled(attempt) and attempt.answer is None}
    assert not idle & kept
    assert [attempt.id for attempt in unfinished] == sorted(kept), "oldest first, all were asked for at once"


async def test_pruning_forgets_what_ended_long_ago_and_keeps_what_a_link_came_from(store: Store) -> None:
    def ended(user_id: int, at: datetime) -> Attempt:
        return begun(user_id=user_id, state=State.CANCELLED, ended_at=at, shown_state=Card.CANCELLED)

    long_ago = NOW - timedelta(days=2)
    old, older, fresh, still_open = ended(1, long_ago), ended(2, long_ago), ended(3, NOW), begun(user_id=4)
    linked = replace(ended(5, long_ago), state=State.LINKED, shown_state=Card.LINKED)
    async with store.transaction() as tx:
        for attempt in (old, older, fresh, still_open, linked):
            await tx.attempts.add(attempt)
        link = a_link(5, attempt_id=linked.id)
        await tx.links.add(link)
        assert await tx.attempts.prune(seen_before=NOW - timedelta(days=1), unseen_before=NOW - timedelta(days=7)) == 2
        kept = [await tx.attempts.get(attempt.id) for attempt in (old, older, fresh, still_open, linked)]
        assert kept == [None, None, fresh, still_open, linked]
        await tx.links.remove(link)
        assert await tx.attempts.prune(seen_before=NOW - timedelta(days=1), unseen_before=NOW - timedelta(days=7)) == 1


async def test_pruning_keeps_an_end_that_its_member_has_not_seen(store: Store) -> None:
    # The host was off for a weekend right after the end was committed: the card still says "waiting".
    unseen = begun(state=State.EXPIRED, ended_at=NOW - timedelta(days=2), shown_state=Card.WAITING)
    async with store.transaction() as tx:
        await tx.attempts.add(unseen)
        await tx.attempts.prune(seen_before=NOW - timedelta(days=1), unseen_before=NOW - timedelta(days=7))
        assert await tx.attempts.unfinished() == [unseen]
        await tx.attempts.prune(seen_before=NOW - timedelta(days=7), unseen_before=NOW - timedelta(days=1))
        assert await tx.attempts.unfinished() == [], "but not for ever"


# --- links ---


async def test_link_comes_back_as_it_was_after_a_restart(database_url: str) -> None:
    link = a_link()
    async with opened(database_url) as store, store.transaction() as tx:
        await tx.links.add(link)
    async with opened(database_url) as store, store.transaction() as tx:
        assert await tx.links.of(42) == link
        assert await tx.links.from_attempt(begun(42, id="an-attempt")) == link
        assert await tx.links.from_attempt(begun(43, id="an-attempt")) is None, "it answers to its member alone"
        held = await tx.links.holding(planted("account-12345"))
        assert held is not None
        assert held.user_id == 42
        assert (await tx.links.of(43), await tx.links.from_attempt(begun(42))) == (None, None)
        assert await tx.links.holding(planted("account-6")) is None
        await tx.links.remove(link)
        assert await tx.links.of(42) is None
        assert await tx.links.holding(planted("account-12345")) is None


@pytest.mark.parametrize(
    "second",
    [
        a_link(42, account="6", attempt_id="another"),
        a_link(43, account="12345", attempt_id="another"),
        a_link(43, account="6", attempt_id="an-attempt"),
    ],
    ids=["same member", "same account", "same attempt"],
)
async def test_database_enforces_one_link_a_member_an_account_and_an_attempt(store: Store, second: Link) -> None:
    async with store.transaction() as tx:
        await tx.links.add(a_link())
    with pytest.raises(ConflictError):
        async with store.transaction() as tx:
            await tx.links.add(second)


# --- sign-outs ---


async def test_sign_out_comes_back_as_it_was_after_a_restart(database_url: str) -> None:
    async with opened(database_url) as store, store.transaction() as tx:
        await tx.sign_outs.add(a_sign_out("later", NOW + timedelta(seconds=1)))
        await tx.sign_outs.add(a_sign_out("sooner", NOW))
    async with opened(database_url) as store, store.transaction() as tx:
        assert await tx.sign_outs.ids() == ["sooner", "later"], "oldest first"
        assert await tx.sign_outs.get("sooner") == a_sign_out("sooner", NOW)
        await tx.sign_outs.remove("sooner")
        assert await tx.sign_outs.get("sooner") is None
        assert await tx.sign_outs.ids() == ["later"]


# --- secrets ---


async def test_an_attempt_that_lacks_what_it_needs_is_broken(store: Store, database: Database) -> None:
    attempt = replace(full(), ended_at=None)
    async with store.transaction() as tx:
        await tx.attempts.add(attempt)
    await spoil(database, tables.attempts, attempt.id, token_envelope=None)
    async with store.transaction() as tx:
        assert (found := await tx.attempts.get(attempt.id)) is not None
        assert found.trouble is Trouble.BROKEN


async def test_every_secret_column_holds_an_envelope_of_its_own_cell(store: Store, database: Database) -> None:
    async with store.transaction() as tx:
        await write_everything(tx)
    vault, seen = a_vault(), set()
    async with database.transaction() as connection:
        for table in tables.metadata.sorted_tables:
            for row in (await connection.execute(select(table))).mappings():
                for column in (name for name in row if name.endswith("_envelope")):
                    cell = Cell(table.name, column, str(row["id"]), row.get("user_id", SOMEBODY))
                    assert vault.decrypt(row[column], cell).reveal().startswith("planted-")
                    seen.add((table.name, column))
    assert seen == {
        (table.name, column.name)
        for table in tables.metadata.sorted_tables
        for column in table.c
        if column.name.endswith("_envelope")
    }


# --- broken rows ---


SECRET_COLUMNS = ["client_identifier_envelope", "pin_id_envelope", "user_code_envelope", "token_envelope"]


def sealed_with_b(table: str, column: str, row_id: str, user_id: int = 42) -> str:
    ring = KeyRing({"b": B})
    vault = Vault(ring=ring, records=Vault.first_records(ring), reload=lambda: ring)
    return vault.encrypt(planted("token"), Cell(table, column, row_id, user_id))


@pytest.mark.parametrize("column", SECRET_COLUMNS)
@pytest.mark.parametrize("envelope", ["", "nonsense", "plk1:a:AAAA", "plk1:a:\u00e4"])
async def test_broken_envelope_is_the_trouble_of_its_row_alone(
    store: Store, database: Database, column: str, envelope: str
) -> None:
    broken, sound = replace(full(), ended_at=None), begun(user_id=43)
    async with store.transaction() as tx:
        await tx.attempts.add(broken)
        await tx.attempts.add(sound)
    await spoil(database, tables.attempts, broken.id, **{column: envelope})
    async with store.transaction() as tx:
        found = {attempt.id: attempt for attempt in await tx.attempts.unfinished()}
    assert found[sound.id] == sound
    name = column.removesuffix("_envelope")
    assert found[broken.id] == replace(broken, **{name: None, "trouble": Trouble.BROKEN})


@pytest.mark.parametrize(
    ("missing", "broken"),
    [("token_envelope", "client_identifier_envelope"), ("client_identifier_envelope", "token_envelope")],
)
async def test_envelope_with_a_key_that_is_missing_makes_its_row_unavailable(
    store: Store, database: Database, missing: str, broken: str
) -> None:
    attempt = replace(full(), ended_at=None)
    link = a_link()
    async with store.transaction() as tx:
        await tx.attempts.add(attempt)
        await tx.links.add(link)
        await tx.sign_outs.add(a_sign_out())
    for table, each in ((tables.attempts, attempt.id), (tables.links, link.id), (tables.sign_outs, "sign-out")):
        await spoil(database, table, each, **{missing: sealed_with_b(table.name, missing, each), broken: "nonsense"})
    async with store.transaction() as tx:
        rows = [await tx.attempts.get(attempt.id), await tx.links.of(42), await tx.sign_outs.get("sign-out")]
    assert [row and row.trouble for row in rows] == [Trouble.UNAVAILABLE] * 3


@pytest.mark.parametrize(
    "envelope",
    ["nonsense", sealed_with_b("plexlink_attempts", "answer_token_envelope", "x")],
    ids=["nonsense", "another key"],
)
async def test_unreadable_interaction_is_only_a_lost_answer(store: Store, database: Database, envelope: str) -> None:
    attempt = replace(full(), ended_at=None)
    async with store.transaction() as tx:
        await tx.attempts.add(attempt)
    await spoil(database, tables.attempts, attempt.id, answer_token_envelope=envelope)
    async with store.transaction() as tx:
        assert await tx.attempts.get(attempt.id) == replace(attempt, answer=None)


@pytest.mark.parametrize("column", sorted({*SIGNED[tables.attempts], "signature"} - {"id"}))
async def test_attempt_that_somebody_else_wrote_leads_nowhere_and_stays_so(
    store: Store, database: Database, column: str
) -> None:
    attempt = replace(full(), ended_at=None)
    async with store.transaction() as tx:
        await tx.attempts.add(attempt)
    words = {"state": State.PENDING, "reason": None, "lane": Lane.DM, "signature": None, "device_name": "another"}
    await spoil(database, tables.attempts, attempt.id, **{column: words.get(column, 77)})
    for _ in range(2):
        async with store.transaction() as tx:
            found = await tx.attempts.get(attempt.id)
            assert found is not None
            assert (found.trouble, found.place, found.answer) == (Trouble.BROKEN, Place(), None)
            await tx.attempts.move(found)
            await tx.attempts.show(replace(found, place=Place(lane=Lane.DM, channel_id=78, message_id=79)))


async def test_signature_of_another_row_is_none(store: Store, database: Database) -> None:
    one, other = (replace(full(user_id), ended_at=None) for user_id in (42, 43))
    async with store.transaction() as tx:
        await tx.attempts.add(one)
        await tx.attempts.add(other)
    async with database.transaction() as connection:
        signature = await connection.scalar(select(tables.attempts.c.signature).where(tables.attempts.c.id == one.id))
    await spoil(database, tables.attempts, other.id, signature=signature)
    async with store.transaction() as tx:
        assert (found := await tx.attempts.get(other.id)) is not None
        assert found.trouble is Trouble.BROKEN


@pytest.mark.parametrize("column", sorted({*SIGNED[tables.links], "signature"} - {"id"}))
async def test_link_that_somebody_else_wrote_is_broken(store: Store, database: Database, column: str) -> None:
    link = a_link()
    async with store.transaction() as tx:
        await tx.links.add(link)
    await spoil(database, tables.links, link.id, **{column: 77 if column == "user_id" else "forged"})
    async with store.transaction() as tx:
        assert (found := await tx.links.get(link.id)) is not None
        assert found.trouble is Trouble.BROKEN


@pytest.mark.parametrize("column", sorted({*SIGNED[tables.notices], "signature"} - {"id"}))
async def test_notice_that_somebody_else_wrote_is_told_to_nobody(store: Store, database: Database, column: str) -> None:
    async with store.transaction() as tx:
        await tx.notices.add(a_notice())
    forged = {"topic": Topic.LINK_DEAD, "reason": None, "lane": Lane.DM, "signature": None}.get(column, 77)
    await spoil(database, tables.notices, "notice", **{column: forged})
    async with store.transaction() as tx:
        assert await tx.notices.get("notice") is None
        assert [await tx.notices.untold(), await tx.notices.of(42), await tx.notices.of(77)] == [[], [], []]


async def test_broken_link_and_sign_out_say_so_and_can_be_removed(store: Store, database: Database) -> None:
    link = a_link()
    async with store.transaction() as tx:
        await tx.links.add(link)
        await tx.sign_outs.add(a_sign_out())
    await spoil(database, tables.links, link.id, token_envelope="nonsense")
    await spoil(database, tables.sign_outs, "sign-out", token_envelope="nonsense")
    async with store.transaction() as tx:
        broken = await tx.links.of(42)
        row = await tx.sign_outs.get("sign-out")
        assert broken == replace(link, token=Secret(""), trouble=Trouble.BROKEN)
        assert row is not None
        assert row.trouble is Trouble.BROKEN
        await tx.links.remove(broken)
        await tx.sign_outs.remove("sign-out")
        assert (await tx.links.of(42), await tx.sign_outs.ids()) == (None, [])


async def test_envelope_copied_from_another_row_is_broken(store: Store, database: Database) -> None:
    mine, other = begun(user_id=42, token=planted("token")), begun(user_id=43, token=planted("token"))
    async with store.transaction() as tx:
        await tx.attempts.add(mine)
        await tx.attempts.add(other)
    async with database.transaction() as connection:
        copied = await connection.scalar(
            select(tables.attempts.c.token_envelope).where(tables.attempts.c.id == other.id)
        )
    await spoil(database, tables.attempts, mine.id, token_envelope=copied)
    async with store.transaction() as tx:
        assert await tx.attempts.get(mine.id) == replace(mine, token=None, trouble=Trouble.BROKEN)
        assert await tx.attempts.get(other.id) == other
