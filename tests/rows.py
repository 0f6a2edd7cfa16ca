"""Values and their rows, to be kept in a database of either engine and found there again."""

from __future__ import annotations

import traceback
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from plexlink import flow
from plexlink.community import Server
from plexlink.models import (
    Answer,
    Attempt,
    Card,
    GivenUp,
    Lane,
    Link,
    Notice,
    Phase,
    Place,
    PlexServer,
    Reason,
    SignOut,
    State,
    Topic,
)
from plexlink.secret import Secret
from plexlink.store import Database, Store, Transaction, tables
from plexlink.vault import Key, KeyRing, Vault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)

A = Key("a", bytes(range(32)))

B = Key("b", bytes(range(32, 64)))

RING = KeyRing({"a": A})

RECORDS = Vault.first_records(RING)

FIRST = {"primary": "a", "canary": "one"}


def a_vault(*keys: Key) -> Vault:
    ring = KeyRing({key.id: key for key in (*keys, A)})
    return Vault(ring=ring, records=RECORDS, reload=lambda: ring)


def planted(name: str) -> Secret:
    return Secret(f"planted-{name}")


@asynccontextmanager
async def opened(url: str, vault: Vault | None = None) -> AsyncIterator[Store]:
    async with Database.open(url) as database:
        yield Store(database=database, vault=vault or a_vault())


def begun(user_id: int = 42, **others: Any) -> Attempt:
    attempt = flow.begin(user_id=user_id, guild_id=None, device_name="device", place=Place(), answer=None, now=NOW)
    return replace(attempt, **others)


PIN_CREATED = flow.PinCreated(planted("pin-id"), planted("code"), NOW + timedelta(minutes=15))

GRANTED = flow.Granted(planted("token"))


def full(user_id: int = 42) -> Attempt:
    """Return an attempt with something in every column."""
    return Attempt(
        id=begun().id,
        user_id=user_id,
        guild_id=2**63 - 1,
        device_name="Discord: alice via PlexLink",
        state=State.APPROVED,
        requested_at=NOW,
        reason=Reason.TAKEN,
        deadline_at=NOW + timedelta(minutes=15),
        ended_at=NOW + timedelta(minutes=20),
        client_identifier=planted("client-identifier"),
        pin_id=planted("pin-id"),
        user_code=planted("code"),
        token=planted("token"),
        shown_state=Card.WAITING,
        place=Place(lane=Lane.ANSWER, channel_id=2**62, message_id=3),
        answer=Answer(message_id=4, token=planted("interaction-token"), at=NOW),
    )


def a_link(user_id: int = 42, *, account: str = "12345", attempt_id: str = "an-attempt") -> Link:
    return Link(
        id=begun().id,
        user_id=user_id,
        attempt_id=attempt_id,
        account_id=planted(f"account-{account}"),
        account_name=planted("account-name"),
        client_identifier=planted("client-identifier"),
        token=planted("token"),
        linked_at=NOW,
    )


def a_given_up_code() -> GivenUp:
    return GivenUp(
        id=begun().id,
        user_id=42,
        client_identifier=planted("client-identifier"),
        pin_id=planted("pin-id"),
        deadline_at=NOW + timedelta(minutes=15),
    )


def a_sign_out(row_id: str = "sign-out", at: datetime = NOW) -> SignOut:
    return SignOut(id=row_id, user_id=42, client_identifier=planted("client"), token=planted("token"), requested_at=at)


def a_notice() -> Notice:
    return Notice(
        id="notice",
        user_id=42,
        topic=Topic.UNLINKING,
        reason=Reason.UNLINKED,
        phase=Phase.SIGNING_OUT,
        at=NOW,
        answer=Answer(message_id=7, token=planted("interaction"), at=NOW),
    )


async def rows_of(database: Database) -> dict[str, str]:
    """Read a table that knows no secrets: the key table."""
    async with database.transaction() as connection:
        rows = await connection.execute(select(tables.keys.c.name, tables.keys.c.value))
        return {row.name: row.value for row in rows}


async def keep(database: Database, records: dict[str, str]) -> None:
    """Write that table anew."""
    async with database.transaction() as connection:
        await connection.execute(delete(tables.keys))
        if records:
            await connection.execute(insert(tables.keys), [{"name": n, "value": v} for n, v in records.items()])


async def spoil(database: Database, table: Any, row_id: str, **columns: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(update(table).where(table.c.id == row_id).values(**columns))


def assert_is_a_sentence(error: BaseException) -> None:
    said = str(error)
    assert "PLEXLINK_DATA" in said
    assert "\n" not in said
    assert said.endswith(".")
    shown = "".join(traceback.format_exception(error))
    for word in ("[SQL", "[parameters", "sqlalche.me", "planted"):
        assert word not in shown


async def write_everything(tx: Transaction) -> None:
    attempt = full()
    await tx.attempts.add(replace(attempt, state=State.REQUESTED, ended_at=None))
    await tx.attempts.move(attempt)
    await tx.attempts.show(attempt)
    await tx.links.add(a_link())
    await tx.sign_outs.add(a_sign_out())
    await tx.given_up.add(a_given_up_code())
    await tx.notices.add(a_notice())
    await tx.servers.keep(Server(id=7))
    await tx.servers.choose_plex_server(7, PlexServer(id=planted("machine"), name=planted("name")))
