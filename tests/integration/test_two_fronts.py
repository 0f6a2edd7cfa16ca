"""What holds for one process holds for two on one database that decide at the same moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from plexlink import flow
from plexlink.bell import Bell
from plexlink.clock import Clock
from plexlink.ledger import Ledger
from plexlink.linking import MOST_STARTS, Begun, Linking, TooBusy, TooManyStarts
from plexlink.models import Account, Answer, Attempt, Origin, Reason, State, Wish
from plexlink.secret import Secret
from plexlink.store import Database, Store
from rows import a_vault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from postgres import Server

NOW = datetime(2026, 11, 30, tzinfo=UTC)
MOST = 4


@dataclass
class Front:
    ledger: Ledger
    linking: Linking


@pytest.fixture
async def fronts(postgres: Server) -> AsyncIterator[list[Front]]:
    url = postgres.create_database()
    async with front(url) as one, front(url) as other:
        yield [one, other]


@asynccontextmanager
async def front(url: str) -> AsyncIterator[Front]:
    async with Database.open(url) as database:
        clock = Clock(now=lambda: NOW, monotonic=lambda: 0.0)
        ledger = Ledger(store=Store(database=database, vault=a_vault()), clock=clock, bell=Bell())
        yield Front(ledger, Linking(ledger=ledger, clock=clock, max_pending=MOST))


def a_wish(user_id: int, message_id: int = 1) -> Wish:
    return Wish(
        user_id=user_id,
        guild_id=7,
        device_name="device",
        origin=Origin.COMMAND,
        answer=Answer(message_id=message_id, token=Secret("interaction"), at=NOW),
    )


async def open_attempts(front: Front) -> list[Attempt]:
    async with front.ledger.change() as change:
        return [attempt for attempt in await change.unfinished() if not flow.is_over(attempt)]


async def test_a_member_who_types_in_two_places_at_once_has_one_attempt(fronts: list[Front]) -> None:
    await asyncio.gather(*(each.linking.start(a_wish(42, number)) for number in range(5) for each in fronts))
    async with fronts[0].ledger.change() as change:
        assert len(await change.tx.attempts.all_of(42)) == 1


async def test_no_more_members_link_at_once_than_may(fronts: list[Front]) -> None:
    said = await asyncio.gather(*(fronts[user % 2].linking.start(a_wish(user)) for user in range(1, 13)))
    assert Counter(type(each) for each in said) == {Begun: MOST, TooBusy: 12 - MOST}
    assert len(await open_attempts(fronts[1])) == MOST


async def test_nobody_gets_more_codes_in_ten_minutes_by_asking_elsewhere(fronts: list[Front]) -> None:
    said = []
    for number in range(MOST_STARTS + 2):
        said.append(await fronts[number % 2].linking.start(a_wish(42, number)))
        for attempt in await open_attempts(fronts[0]):
            await fronts[0].ledger.advance(attempt, flow.Cancelled())
    assert Counter(type(each) for each in said) == {Begun: MOST_STARTS, TooManyStarts: 2}


async def test_an_account_that_two_members_prove_at_once_is_given_to_one_and_the_other_is_asked(
    fronts: list[Front],
) -> None:
    account = Account(id=Secret("7"), name=Secret("alice"), is_managed=False)
    approved = []
    for user, each in enumerate(fronts, 1):
        await each.linking.start(a_wish(user))
        async with each.ledger.change() as change:
            attempt = await change.tx.attempts.open_of(user)
        assert attempt is not None
        pin = flow.PinCreated(Secret(f"pin-{user}"), Secret(f"code-{user}"), NOW + timedelta(minutes=15))
        pending = await each.ledger.advance(attempt, pin)
        approved.append(await each.ledger.advance(pending, flow.Granted(Secret(f"a-token-of-{user}"))))
    decided = await asyncio.gather(
        *(each.ledger.decide(attempt, account) for each, attempt in zip(fronts, approved, strict=True))
    )
    ends = {(each.state, each.reason) for each in decided}
    assert ends == {(State.APPROVED, Reason.TAKEN), (State.LINKED, None)}
