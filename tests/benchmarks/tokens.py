"""How many times a second other code can have a member's token, each use durable in the audit."""

from __future__ import annotations

import asyncio
import tempfile
import time
from datetime import UTC, datetime

from plexlink.clock import Clock
from plexlink.models import Link
from plexlink.secret import Secret
from plexlink.store import Database, Store
from plexlink.tokens import Tokens
from plexlink.vault import Key, KeyRing, Vault

LINKS = 1000
CALLS = 2000


async def measure(at_once: int) -> dict[str, float]:
    """Return the calls a second, and the CPU milliseconds of one, with so many callers."""
    ring = KeyRing({"a": Key("a", bytes(32))})
    vault = Vault(ring=ring, records=Vault.first_records(ring), reload=lambda: ring)
    with tempfile.TemporaryDirectory() as folder:
        async with Database.open(f"sqlite:///{folder}/db") as database:
            store = Store(database=database, vault=vault)
            await _link_many(store)
            tokens = Tokens(store=store, clock=Clock(now=lambda: datetime.now(UTC), monotonic=time.monotonic))
            calls = CALLS if at_once > 1 else CALLS // 10
            began, cpu = time.perf_counter(), time.process_time()
            await asyncio.gather(*(_call(tokens, first, calls // at_once) for first in range(at_once)))
            return {
                "calls_a_second": calls / (time.perf_counter() - began),
                "cpu_ms": 1000 * (time.process_time() - cpu) / calls,
            }


async def _call(tokens: Tokens, first: int, count: int) -> None:
    for number in range(count):
        grant = await tokens.token_for((31 * first + number) % LINKS, purpose="bench")
        assert grant.outcome == "granted"


async def _link_many(store: Store) -> None:
    async with store.transaction() as tx:
        for number in range(LINKS):
            await tx.links.add(
                Link(
                    id=f"link{number}",
                    user_id=number,
                    attempt_id=f"attempt{number}",
                    account_id=Secret(f"account-{number}"),
                    account_name=Secret("alice"),
                    client_identifier=Secret(f"client-{number:029}"),
                    token=Secret(f"token-{number:014}"),
                    linked_at=datetime.now(UTC),
                )
            )
