"""Three processes on one PostgreSQL, any of which is stopped, killed or frozen at any moment: nothing is lost.

`make proof` strikes a few times. PLEXLINK_KILLS=200 makes it a long run, PLEXLINK_SEED another one.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import machines
from cluster import DATABASE_WAYS, ON_MACHINES, RATE, WAYS, a_cluster, most_of_the_rate, strike_again_and_again
from plexlink.tenure import LEASE_SECONDS, MARGIN_SECONDS
from plexlink_bot.sandbox.plex_tv import ALICE
from postgres import a_server
from processes import code_of, deployment
from test_random_kills import CROWD, CROWDED, KILLS, LIVES_SECONDS, SEED, BusyRun
from wire import Wire

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from processes import BotProcess, Deployment

SHARDS = ("0/2", "1/2", "none")
CROWDED_BY_MANY = {**CROWDED, "PLEXLINK_PLEX_RATE": str(RATE)}
FROZEN_SECONDS = (1.0, 25.0)
"""Shorter and longer than a lease."""

AWAY_SECONDS = (0.0, 20.0)
MOST_OF_THE_RATE = 1.2
SECONDS_A_BLOW = 60


class BusyCluster(BusyRun):
    """Members who come and go, and processes that are struck one after the other."""

    def __init__(self, place: Deployment, chance: random.Random, wires: Mapping[str, Wire]) -> None:
        super().__init__(place, chance)
        self._wires = wires

    async def run(self, kills: int) -> None:
        """Strike a busy cluster, then let it come to rest with nobody helping it."""
        processes = {shards: await self._process(shards) for shards in SHARDS}
        self._place.choose_role()
        crowd = [asyncio.create_task(self._come_and_go()) for _ in range(CROWD)]
        for _ in range(kills):
            await asyncio.sleep(self._chance.uniform(0, LIVES_SECONDS))
            shards = self._chance.choice(SHARDS)
            how = self._chance.choice([self._stop, self._kill, self._freeze, self._cut, self._restart_database])
            await how(processes[shards], shards)
            if not processes[shards].is_running:
                processes[shards] = await self._process(shards)
            assert not self.witness.never()
        for one in crowd:
            one.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)

    async def _process(self, shards: str) -> BotProcess:
        assert self._place.database is not None
        server, url = self._place.database.server, self._place.database.url
        environment = {
            "PLEXLINK_SHARDS": shards,
            "PLEXLINK_DATABASE_URL": url.replace(f":{server.port}/", f":{self._wires[shards].port}/"),
        }
        if shards != "none":
            return await self._place.start(**environment)
        standby = await self._place.spawn(**environment)
        await standby.logged("bot.standing_by")
        return standby

    async def _stop(self, process: BotProcess, _: str) -> None:
        assert await process.terminate() == 0
        self.witness.stopped()

    async def _kill(self, process: BotProcess, _: str) -> None:
        await self.witness.kill(process)

    async def _freeze(self, process: BotProcess, _: str) -> None:
        os.kill(process.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(self._chance.uniform(*FROZEN_SECONDS))
        finally:
            os.kill(process.pid, signal.SIGCONT)

    async def _cut(self, _: BotProcess, shards: str) -> None:
        """Let nothing come through between a process and the database, without either of them being told."""
        wire = self._wires[shards]
        wire.cut()
        await asyncio.sleep(self._chance.uniform(*FROZEN_SECONDS))
        wire.mend()

    async def _restart_database(self, *_: object) -> None:
        assert self._place.database is not None
        server = self._place.database.server
        await asyncio.to_thread(server.stop, self._chance.choice([signal.SIGINT, signal.SIGQUIT]))
        await asyncio.sleep(self._chance.uniform(*AWAY_SECONDS))
        await asyncio.to_thread(server.start)

    def report(self) -> str:
        """Say as well what each process told of its work last, and what the database does."""
        assert self._place.database is not None
        told = [
            "\n".join([line for line in log.splitlines() if " DEBUG " not in line and "link." not in line][-15:])
            for log in self._place.log.split("-- the next process --")[-6:]
        ]
        now = self._place.database.sql(
            "SELECT pid, state, wait_event, now() - xact_start, left(query, 80) FROM pg_stat_activity;"
            "SELECT * FROM plexlink_tenure; SELECT host, shards, started_at, seen_at FROM plexlink_processes;"
            "SELECT pid, granted FROM pg_locks WHERE locktype = 'advisory'"
        )
        return "\n".join([super().report(), *told, now])


@pytest.mark.timeout(900 + SECONDS_A_BLOW * KILLS)
async def test_nothing_is_lost_whichever_process_is_struck(tmp_path: Path) -> None:
    with a_server() as server:
        async with AsyncExitStack() as wires, deployment(tmp_path, server.database(), **CROWDED_BY_MANY) as place:
            each_its_own = {shards: await wires.enter_async_context(Wire(server.port)) for shards in SHARDS}
            chance = random.Random(f"{SEED} handover")  # noqa: S311 - it shall be foreseeable
            cluster = BusyCluster(place, chance, each_its_own)
            await cluster.run(KILLS)
            await cluster.come_to_rest()
            assert most_of_the_rate(place.plex) <= MOST_OF_THE_RATE
            print(cluster.report())  # noqa: T201 - for whoever runs it with -s


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", WAYS | DATABASE_WAYS)
async def test_the_work_goes_on_when_a_process_or_the_database(name: str) -> None:
    way = (WAYS | DATABASE_WAYS)[name]
    if way in ON_MACHINES and not machines.can_be():
        pytest.skip("machines were left out: root makes them on Linux (apt install iproute2 iptables)")
    struck = await strike_again_and_again(way, members=40, strikes=1, frozen_seconds=20, away_seconds=30)
    assert struck.most <= MOST_OF_THE_RATE


async def test_who_slept_for_almost_as_long_as_its_lease_goes_on_with_all_that_was_due() -> None:
    async with a_cluster() as cluster:
        place, users = cluster.place, [cluster.place.join(f"member{number}") for number in range(6)]
        cards = [await place.waiting_card(user) for user in users]
        sleeper = await cluster.worker()
        os.kill(sleeper.pid, signal.SIGSTOP)
        for user, card in zip(users, cards, strict=True):
            place.plex.approve(code_of(card), replace(ALICE, id=user.id, uuid=f"{user.id:016x}"))
        await asyncio.sleep(LEASE_SECONDS - MARGIN_SECONDS - 0.4)  # longer than its own clock lets it work
        os.kill(sleeper.pid, signal.SIGCONT)
        for user in users:
            await place.card_saying("Linked as", user=user)


async def test_a_process_that_is_followed_by_another_loses_no_press_and_no_answer(tmp_path: Path) -> None:
    """A press on the card of a front that knows no agenda is heard by whoever works."""
    with a_server() as server:
        async with deployment(tmp_path, server.database()) as place:
            worker = await place.spawn(PLEXLINK_SHARDS="none")
            await worker.logged("tenure.begun")
            await place.start(PLEXLINK_SHARDS="0/1")
            card = await place.waiting_card()
            place.plex.approve(code_of(card))
            await place.press(card, "I've approved it")
            linked = await place.card_saying("Linked as alice")
            assert "Home Cinema" not in linked.text, "it is the server where they asked"
            unlink = await place.discord.slash(place.alice, "plexunlink", guild=place.guild)
            question = await place.answer_saying(unlink, "Unlink your Plex account?")
            await place.discord.click(place.alice, question, label="Unlink")
            await place.answer_saying(unlink, "Signed out at Plex")
            assert await worker.terminate() == 0


async def test_a_process_that_wakes_makes_way_for_the_one_in_its_place(tmp_path: Path) -> None:
    with a_server() as server:
        async with deployment(tmp_path, server.database()) as place:
            frozen = await place.start(PLEXLINK_SHARDS="0/1")
            os.kill(frozen.pid, signal.SIGSTOP)
            successor = await place.start(PLEXLINK_SHARDS="0/1")
            os.kill(frozen.pid, signal.SIGCONT)
            assert await frozen.wait() == 69
            assert "tenure.replaced" in frozen.log
            assert successor.is_running
            await place.waiting_card()


async def test_older_processes_go_on_while_a_newer_release_adds_to_the_tables(tmp_path: Path) -> None:
    with a_server() as server:
        async with deployment(tmp_path, server.database()) as place:
            assert place.database is not None
            older = await place.start(PLEXLINK_SHARDS="0/2")
            place.database.sql(
                "ALTER TABLE plexlink_links ADD COLUMN of_a_newer_release text;"
                "CREATE TABLE plexlink_of_a_newer_release (id text PRIMARY KEY);"
                "UPDATE plexlink_version SET version_num = '9999'"
            )
            command = await place.discord.slash(place.alice, "plexlink")  # direct messages come to the first shard
            card = await place.card_saying("Your code:")
            place.plex.approve(code_of(card))
            await place.card_saying("Linked as alice")
            assert command.answer is None
            late = await place.spawn(PLEXLINK_SHARDS="1/2")
            assert await late.wait() == 78
            assert "A newer PlexLink wrote this database; install that release or a later one." in late.log
            assert older.is_running


async def test_who_works_draws_through_a_press_that_another_process_took(tmp_path: Path) -> None:
    with a_server() as server:
        async with deployment(tmp_path, server.database()) as place:
            worker = await place.spawn(PLEXLINK_SHARDS="none")
            await worker.logged("tenure.begun")
            await place.start(PLEXLINK_SHARDS="0/1")
            card = await place.waiting_card()
            former = code_of(card)
            place.discord.fail("PATCH", "/channels/*/messages/*", status=403, code=20026, times=10**6)
            await place.press(card, "New code")
            place.plex.approve(code_of(await place.card_saying("Your code", but_not=former)))
            await place.press(card, "I've approved it")
            await place.card_saying("Linked as alice")


async def test_the_command_shows_who_is_there_and_who_works(tmp_path: Path) -> None:
    with a_server() as server:
        async with deployment(tmp_path, server.database()) as place:
            worker = await place.start(PLEXLINK_SHARDS="0/2")
            standby = await place.spawn(PLEXLINK_SHARDS="none")
            await standby.logged("bot.standing_by")
            assert re.fullmatch(SHOWN, await said_by(place, "processes"))
            await worker.terminate()
            await standby.logged("tenure.begun")
            await standby.terminate()
            assert await said_by(place, "processes") == "No process is there.\n"


SHOWN = r"\S+  shards 0/2  version \S+  up 0:00:\d\d  works\n\S+  shards none  version \S+  up 0:00:\d\d\n"


async def said_by(place: Deployment, command: str) -> str:
    process = await place.spawn(arguments=("-m", "plexlink_bot", command))
    assert await process.wait() == 0, process.log
    return process.log
