"""Several processes on one PostgreSQL, each with its keeper: one works, the others stand by, and all hear the bell."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from plexlink import carrying, flow, tenure, whereabouts
from plexlink import keeper as keepers
from plexlink.bell import Bell
from plexlink.clock import Clock
from plexlink.community import Cause, Kept, ServerTouched, Standing
from plexlink.errors import DatabaseInUseError, FencedError, StoreError, StoreUnavailableError, UnknownKeyError
from plexlink.events import (
    AccessWanted,
    CardPressed,
    Checked,
    CheckWanted,
    Linked,
    PlexServersTold,
    PlexServersWanted,
    Pressed,
    TokenDead,
    Unlinked,
    Unsure,
)
from plexlink.keeper import Keeper
from plexlink.ledger import Ledger
from plexlink.models import (
    Answer,
    Attempt,
    AttemptCard,
    Card,
    Finding,
    Health,
    Lane,
    Notice,
    Phase,
    Place,
    PlexServer,
    Pointer,
    Showing,
    State,
    Topic,
    Verdict,
)
from plexlink.observations import Asked, Call, CardDrawn, Drawing, Outcome, unobserved
from plexlink.plex import Pace
from plexlink.reach import CUT_OFF_AFTER_SECONDS, Reach
from plexlink.secret import Secret
from plexlink.shards import NO_SHARDS, Shards
from plexlink.store import Database, Store
from plexlink.tenure import Tenure
from plexlink.vitals import STUCK_AFTER_SECONDS, Jobs
from plexlink.work.agenda import Agenda, Key, Kind
from plexlink.work.hand import Hand
from plexlink.work.noted import NotedNotifier, NotedRoles
from plexlink.work.shares import Purpose
from plexlink.work.worker import Worker
from rows import NOW, a_given_up_code, a_link, a_notice, a_sign_out, a_vault, begun

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from plexlink.bell import Happened
    from plexlink.observations import Observation
    from plexlink.tenure import Beat, Fence
    from postgres import Server


@dataclass
class Process:
    """What there is of a process besides Discord and plex.tv."""

    name: str
    database: Database
    bell: Bell = field(default_factory=Bell)
    heard: list[Happened] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    fences: list[Fence] = field(default_factory=list)
    is_resumed: int = 0
    rests: int = 0
    learned: list[datetime] = field(default_factory=list)
    replaced: list[DatabaseInUseError] = field(default_factory=list)
    hand: Hand = field(default_factory=Hand)
    overdue_seconds: float = 0.0
    was_overtaken: bool | None = None
    ends: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.store = Store(database=self.database, vault=a_vault())
        self.ledger = Ledger(store=self.store, clock=Clock(now=lambda: NOW, monotonic=lambda: 0.0), bell=self.bell)
        self.bell.listen(self._hear)
        self.time = 0.0
        self.reach = Reach(observe=unobserved, monotonic=lambda: self.time)

    def open(self, shards: Shards = NO_SHARDS) -> Keeper:
        line = self.database.line(host=self.name, shards=str(shards), version="1")
        assert line is not None
        self.keeper = Keeper(
            line=line,
            store=self.store,
            bell=self.bell,
            vault=a_vault(),
            shards=shards,
            reach=self.reach,
            begin=self._working,
            rest=self._rest,
            learn=self.learned.append,
            replaced=self.replaced.append,
        )
        self.keeper.resume()
        return self.keeper

    @asynccontextmanager
    async def _working(self, fence: Fence) -> AsyncIterator[Process]:
        self.fences.append(fence)
        self.epochs.append(fence.epoch)
        self.news.set()
        try:
            yield self
        finally:
            self.was_overtaken = self.keeper.is_overtaken()
            self.ends += 1
            self.news.set()

    async def _rest(self) -> None:
        self.rests += 1
        await self.hand.put_down(self.ledger)

    def resume(self) -> None:
        self.is_resumed += 1

    def jobs(self) -> Jobs:
        return Jobs(waiting={}, overdue_seconds=self.overdue_seconds)

    def _hear(self, happened: Happened) -> None:
        self.heard.append(happened)
        self.news.set()

    async def until(self, what: object) -> None:
        """Wait for something that a test knows will be so."""
        assert callable(what)
        while not what():
            self.news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self.news.wait()


@pytest.fixture
def url(postgres: Server) -> str:
    return postgres.create_database()


@asynccontextmanager
async def process(url: str, name: str, shards: Shards = NO_SHARDS) -> AsyncIterator[Process]:
    async with Database.open(url) as database:
        one = Process(name, database)
        keeper = one.open(shards)
        try:
            await keeper.start()
            yield one
        finally:
            await keeper.stop()


async def test_one_of_them_works_and_another_one_goes_on_at_once_when_it_stops(url: str) -> None:
    async with process(url, "first") as first, process(url, "second") as second:
        assert (first.epochs, second.epochs) == ([1], [])
        assert first.keeper.may_work()
        assert not second.keeper.may_work()
        assert second.keeper.has_worker()
        assert first.is_resumed == 1
        await first.keeper.stop()
        assert first.ends == 1
        await second.until(lambda: second.epochs)
        assert (second.epochs, second.is_resumed) == ([2], 1)


async def test_who_vanishes_is_followed_when_its_lease_has_run_out_and_commits_nothing_any_more(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plexlink.store.line.LEASE_SECONDS", 0.3)
    monkeypatch.setattr(keepers, "RENEWED_EVERY_SECONDS", 0.1)
    async with process(url, "first") as first, process(url, "second") as second:
        first.keeper._timer.cancel()  # type: ignore[union-attr] # it stands still
        await second.until(lambda: second.epochs)
        assert second.epochs == [2]
        attempt = begun()
        with pytest.raises(FencedError):
            async with first.store.fenced(first.fences[0]).transaction() as tx:
                await tx.attempts.add(attempt)
        async with second.store.fenced(second.fences[0]).transaction() as tx:
            assert await tx.attempts.get(attempt.id) is None
        await first.keeper._look()
        assert first.ends == 1, "it sees that another one works"


async def test_a_tenure_that_a_database_has_forgotten_and_given_again_is_another_ones(
    url: str, postgres: Server
) -> None:
    async with process(url, "first") as first, process(url, "second") as second:
        postgres.sql("DELETE FROM plexlink_tenure", url.rpartition("/")[2])  # as after a fail-over
        await second.keeper._look()
        assert second.epochs == first.epochs == [1]
        with pytest.raises(FencedError):
            async with first.store.fenced(first.fences[0]).transaction():
                pass
        await first.keeper._look()
        assert first.ends == 1


async def test_a_holder_whose_clock_says_that_others_may_have_begun_works_no_more(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(url, "first") as first:
        slept = tenure.now() + tenure.LEASE_SECONDS
        monkeypatch.setattr(tenure, "now", lambda: slept)
        assert not first.keeper.may_work()


@pytest.mark.parametrize(
    ("in_vain", "well"),
    [
        (Asked(Call.ASK, Outcome.SILENT, 5.0), CardDrawn("dm", Drawing.DRAWN)),
        (CardDrawn("dm", Drawing.FAILED), Asked(Call.ASK, Outcome.ANSWERED, 0.1)),
    ],
)
async def test_who_is_cut_off_from_plex_or_discord_lets_another_one_try_and_alone_goes_on(
    url: str, in_vain: Observation, well: Observation
) -> None:
    async with process(url, "first") as first:
        for first.time in (-2 * CUT_OFF_AFTER_SECONDS, 0.0, CUT_OFF_AFTER_SECONDS - 1):
            first.reach.observe(in_vain)
            first.reach.observe(well)
            assert not first.reach.is_cut_off()
        first.time = CUT_OFF_AFTER_SECONDS
        assert first.reach.is_cut_off()
        await first.keeper._look()
        assert first.keeper.works, "nobody else could do better"
        async with process(url, "second") as second:
            await first.keeper._look()
            assert not first.keeper.works
            await second.until(lambda: second.epochs)
            assert second.epochs == [2]
        await first.keeper._look()
        assert first.epochs == [1], "it leaves it alone for a minute"


async def test_a_token_in_hand_outlives_the_work_and_is_kept_or_signed_out(url: str) -> None:
    async with process(url, "worker") as worker, process(url, "other") as other:
        waits, is_over, wanted = begun(1), begun(2), a_given_up_code()
        pin = flow.PinCreated(Secret("pin"), Secret("code"), NOW + timedelta(minutes=15))
        async with worker.ledger.change() as change:
            for attempt in (waits, is_over):
                await change.add(attempt)
            waits, is_over = [await change.move(attempt, pin) for attempt in (waits, is_over)]
            await change.move(is_over, flow.RanOut())
            await change.tx.given_up.add(wanted)
        for attempt in (waits, is_over):
            other.hand.of_attempts[attempt.id] = attempt, Secret(f"a-token-of-{attempt.user_id}")
        other.hand.of_given_up[wanted.id] = wanted, Secret("a-token-of-nobody")
        await other.keeper._look()
        assert other.hand == Hand()
        async with worker.ledger.change() as change:
            kept = await change.newest(waits.id)
            assert kept is not None
            assert (kept.state, kept.token) == (State.APPROVED, Secret("a-token-of-1"))
            queued = [await change.tx.sign_outs.get(row_id) for row_id in await change.tx.sign_outs.ids()]
            assert {each and each.token for each in queued} == {Secret("a-token-of-2"), Secret("a-token-of-nobody")}
            assert await change.tx.given_up.all() == []


async def test_a_standby_learns_discords_time_from_what_the_fronts_begin(url: str) -> None:
    async with process(url, "worker") as worker, process(url, "front") as front:
        began = begun(answer=Answer(message_id=1, token=Secret("interaction"), at=NOW))
        async with front.ledger.change() as change:
            await change.add(began)
        await worker.until(lambda: worker.heard)
        assert (worker.learned, front.learned) == ([NOW], [])
        later = Answer(message_id=2, token=Secret("another"), at=NOW + timedelta(minutes=12))
        async with front.ledger.change() as change:
            await whereabouts.bring(change, began, later)
        await worker.until(lambda: any(isinstance(each, Attempt) and each.answer == later for each in worker.heard))
        assert worker.learned == [NOW], "that it began a while ago is no news"


async def test_who_is_stuck_leaves_the_work_to_another_one(url: str) -> None:
    async with process(url, "first") as first, process(url, "second") as second:
        first.overdue_seconds = STUCK_AFTER_SECONDS + 1
        await first.keeper._look()
        await second.until(lambda: second.epochs)
        assert (first.ends, second.epochs) == (1, [2])


def test_reach_is_lost_by_a_minute_in_vain_and_won_by_one_answer() -> None:
    time, seen = [0.0], []
    reach = Reach(observe=seen.append, monotonic=lambda: time[0])
    silent, refused = Asked(Call.ASK, Outcome.SILENT, 5.0), Asked(Call.ASK, Outcome.REFUSED, 1.0)
    reach.observe(silent)
    time[0] += CUT_OFF_AFTER_SECONDS
    assert not reach.is_cut_off(), "one call says little"
    reach.observe(silent)
    assert reach.is_cut_off()
    reach.observe(refused)
    assert not reach.is_cut_off(), "a refusal is an answer"
    reach.observe(silent)
    time[0] += CUT_OFF_AFTER_SECONDS - 1
    reach.observe(silent)
    assert not reach.is_cut_off()
    time[0] += CUT_OFF_AFTER_SECONDS
    assert not reach.is_cut_off(), "nobody has called for a minute"
    assert seen == [silent, silent, refused, silent, silent], "who measures hears of all"


def test_who_has_given_way_in_vain_waits_twice_as_long_each_time_until_something_comes_through() -> None:
    time = [0.0]
    reach = Reach(observe=lambda _: None, monotonic=lambda: time[0])

    def seconds_until_cut_off() -> float:
        began = time[0]
        while not reach.is_cut_off():
            reach.observe(Asked(Call.ASK, Outcome.SILENT, 5.0))
            time[0] += 30.0
        return time[0] - began

    waited = []
    for _ in range(6):
        waited.append(seconds_until_cut_off())
        reach.give_way()
        reach.forget()
        time[0] += 600.0
    assert waited == [60.0, 120.0, 240.0, 480.0, 960.0, 960.0]
    reach.observe(Asked(Call.ASK, Outcome.ANSWERED, 0.1))
    assert seconds_until_cut_off() == 60.0


async def test_who_cannot_reach_discord_yet_leaves_the_work_to_who_can(url: str) -> None:
    async with Database.open(url) as database:
        early = Process("early", database)
        early.open()
        early.keeper._is_wanted = False
        await early.keeper.start()
        assert early.epochs == []
        async with process(url, "ready") as ready:
            assert ready.epochs == [1]
        early.keeper.resume()
        await early.until(lambda: early.epochs)
        await early.keeper.stop()


async def test_two_that_begin_at_once_do_not_both_work(url: str) -> None:
    async with Database.open(url):
        pass
    for _ in range(5):
        async with Database.open(url) as one, Database.open(url) as other:
            both = [Process("one", one), Process("other", other)]
            await asyncio.gather(*(each.open().start() for each in both))
            assert sum(len(each.epochs) for each in both) == 1
            await asyncio.gather(*(each.keeper.stop() for each in both))


async def test_a_process_that_would_run_the_same_shards_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with process(url, "first", Shards.parse("0-1/4")), process(url, "second", Shards.parse("2-3/4")):
        monkeypatch.setattr(keepers, "SEEN_WITHIN_SECONDS", -1.0)  # this one waits for nobody
        with pytest.raises(DatabaseInUseError, match=r"on first for \d+ s, runs shards 0-1/4, and .* run 0/4"):
            async with process(url, "third", Shards.parse("0/4")):
                pass
        async with process(url, "standby"):
            pass


async def forget(postgres: Server, url: str, *hosts: str, hours: float = 0.1) -> None:
    """Let processes not have been seen for a while."""
    names = ", ".join(f"'{host}'" for host in hosts)
    when = f"UPDATE plexlink_processes SET seen_at = seen_at - interval '{hours} hours' WHERE host IN ({names})"  # noqa: S608
    postgres.sql(when, url.rpartition("/")[2])


@pytest.mark.parametrize("hours", [0.1, 30])
async def test_who_was_away_for_long_makes_way_for_who_runs_its_shards_meanwhile(
    url: str, postgres: Server, hours: float
) -> None:
    shards = Shards.parse("0-1/4")
    async with process(url, "first", shards) as first:
        await forget(postgres, url, "first", hours=hours)
        async with process(url, "second", shards) as second, process(url, "third", Shards.parse("2/4")) as third:
            for one in (third, second, first):
                await one.keeper._look()
            assert (len(first.replaced), second.replaced, third.replaced) == (1, [], [])
            assert re.search(r"on second for \d+ s, runs shards 0-1/4", str(first.replaced[0]))


async def test_of_two_who_were_away_the_one_that_came_first_makes_way(
    url: str, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = Shards.parse("0-1/4")
    async with process(url, "first", shards) as first:
        await forget(postgres, url, "first")
        async with process(url, "second", shards) as second:
            for each in (first, second):
                each.keeper._timer.cancel()  # type: ignore[union-attr] # it is looked when the test wants it
            await forget(postgres, url, "second")
            await first.keeper._look()
            assert first.replaced == [], "the second one is not there yet"
            await second.keeper._look()
            with monkeypatch.context() as outage:
                outage.setattr(first.keeper._line, "later", failing)
                await first.keeper._look()
            assert first.replaced == second.replaced == []
            await first.keeper._look()
            assert (len(first.replaced), second.replaced) == (1, [])


async def failing(*_: object) -> None:
    raise StoreError("The connection broke again.")


@pytest.mark.parametrize("lost", ["the answer", "what came after it"])
async def test_that_it_was_away_is_not_forgotten_with_the_one_answer_that_says_so(
    url: str, postgres: Server, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    shards = Shards.parse("0-1/4")
    async with process(url, "first", shards) as first:
        first.keeper._timer.cancel()  # type: ignore[union-attr] # it is looked when the test wants it
        await first.keeper._end_work()
        postgres.sql("DELETE FROM plexlink_tenure", url.rpartition("/")[2])
        await forget(postgres, url, "first")
        async with process(url, "second", shards) as second:
            second.keeper._leaves_it_until = inf
            await second.keeper._end_work()
            await second.keeper._line.release(second.epochs[0])  # and nobody is told
            beat = first.keeper._line.beat
            with monkeypatch.context() as outage, suppress(StoreError):
                if lost == "the answer":
                    first.keeper._seen_at -= 60  # as its clock has it
                    outage.setattr(first.keeper._line, "beat", failing)
                    await beat(0)
                else:
                    outage.setattr(first.keeper._line, "later", failing)
                    outage.setattr(first.keeper, "_claim", failing)
                await first.keeper._look()
            await first.keeper._look()
            assert (len(first.replaced), second.replaced) == (1, [])


async def test_a_commit_that_finds_another_tenure_ends_the_work_whatever_the_clock_says(
    url: str, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(url, "first") as first, process(url, "second") as second:
        first.keeper._timer.cancel()  # type: ignore[union-attr] # nobody tells it
        postgres.sql("UPDATE plexlink_tenure SET leased_until = now() - interval '1 minute'", url.rpartition("/")[2])
        await second.keeper._look()
        assert second.epochs == [2]
        now = tenure.now()
        monkeypatch.setattr(tenure, "now", lambda: now)
        first.keeper._held = Tenure(1, now)
        assert first.keeper.may_work()
        first.keeper.fenced()
        assert not first.keeper.may_work()
        await first.until(lambda: first.ends)
        assert first.was_overtaken


async def test_what_is_under_way_when_the_work_is_given_back_is_in_its_time(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = tenure.now()
    monkeypatch.setattr(tenure, "now", lambda: now)
    async with process(url, "first") as first:
        await first.keeper.stop()
        assert first.was_overtaken is False


async def test_who_was_fenced_works_on_where_a_fail_over_has_forgotten_the_other_tenure(url: str) -> None:
    async with process(url, "first") as first:
        async with first.keeper._turn:
            first.keeper.fenced()
        await first.keeper._look()
        assert first.keeper.may_work()
        assert first.is_resumed > 1, "what it was kept from is planned again"


async def test_a_lease_that_a_clock_has_put_far_ahead_holds_nobody_up(url: str, postgres: Server) -> None:
    async with process(url, "gone") as gone:
        gone.keeper._timer.cancel()  # type: ignore[union-attr] # it stands still
        postgres.sql("UPDATE plexlink_tenure SET leased_until = now() + interval '1 hour'", url.rpartition("/")[2])
        async with process(url, "second") as second:
            assert second.epochs == [2]


async def test_who_is_told_something_while_it_looks_looks_once_more(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with process(url, "first") as first, process(url, "second") as second:
        second.keeper._timer.cancel()  # type: ignore[union-attr] # it is not the next beat that brings it
        beat, has_looked, goes_on = second.keeper._line.beat, asyncio.Event(), asyncio.Event()

        async def beat_slowly(epoch: int) -> Beat:
            found = await beat(epoch)
            has_looked.set()
            await goes_on.wait()
            return found

        monkeypatch.setattr(second.keeper._line, "beat", beat_slowly)
        looking = asyncio.create_task(second.keeper._beat())
        await has_looked.wait()
        await first.keeper.stop()
        while not second.keeper._looks_again:  # noqa: ASYNC110 - told by the database
            await asyncio.sleep(0.01)
        goes_on.set()
        await looking
        await second.until(lambda: second.epochs)


async def test_who_has_stopped_takes_no_tenure_with_it(url: str) -> None:
    async with process(url, "first") as first:
        async with process(url, "second") as second:
            pass
        await first.keeper.stop()
        await second.keeper._beat()
        assert second.keeper._held is None


async def test_one_token_that_cannot_be_put_down_holds_up_no_other(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with process(url, "one") as one:
        first, second = begun(), begun(43)
        hand = Hand(of_attempts={each.id: (each, Secret("a-token")) for each in (first, second)})
        tried = []

        async def advance(attempt: Attempt, _: object) -> None:
            tried.append(attempt.id)
            if attempt.id == first.id:
                raise UnknownKeyError("its key is not in the ring")

        monkeypatch.setattr(one.ledger, "advance", advance)
        await hand.put_down(one.ledger)
        assert (tried, list(hand.of_attempts)) == ([first.id, second.id], [first.id])


async def test_who_works_hears_what_the_others_have_committed_and_they_what_is_for_all(url: str) -> None:
    at = datetime(2026, 11, 29, tzinfo=UTC)
    servers = (PlexServer(id=Secret("machine"), name=Secret("Home Cinema")),)
    for_the_work = [
        CheckWanted("link"),
        AccessWanted("link", is_waited_for=True),
        PlexServersWanted("link"),
        ServerTouched(7),
        CardPressed(Answer(message_id=7, token=Secret("interaction"), at=at)),
        Unsure(),
    ]
    link = a_link()
    health = Health(verdict=Verdict.DEAD, rejected_at=at)
    dead = replace(a_link(43, account="6", attempt_id="another"), health=health)
    for_all = [
        Checked("link", Finding.ALIVE),
        PlexServersTold("link", servers),
        PlexServersTold("link", None),
        Linked(user_id=42, link_id=link.id, at=at),
        Unlinked(user_id=42, link_id="gone", at=at, reason="moved"),
        TokenDead(user_id=43, link_id=dead.id, at=at),
    ]
    untrue = [
        Linked(user_id=44, link_id=link.id, at=at),
        Linked(user_id=42, link_id="gone", at=at),
        Unlinked(user_id=42, link_id=link.id, at=at, reason="moved"),
        TokenDead(user_id=42, link_id=link.id, at=at),
    ]
    async with process(url, "worker") as worker, process(url, "front") as front, process(url, "other") as other:
        attempt, notice, sign_out, given_up = begun(), a_notice(), a_sign_out(), a_given_up_code()
        async with front.ledger.change() as change:
            await change.add(attempt)
            await change.tx.notices.add(notice)
            await change.tx.sign_outs.add(sign_out)
            await change.tx.given_up.add(given_up)
            await change.tx.links.add(link)
            await change.tx.links.add(dead)
            for each in (notice, sign_out, given_up):
                change.tell(each)
        rows: list[Happened] = [attempt, notice, sign_out, given_up, Pressed(attempt)]
        front.bell.ring(Pressed(attempt), *for_the_work, *untrue, *for_all)
        wanted = [*rows, *for_the_work, *for_all]
        await worker.until(lambda: len(worker.heard) >= len(wanted))
        assert sorted(map(repr, worker.heard)) == sorted(map(repr, wanted))
        await other.until(lambda: len(other.heard) >= len(for_all))
        assert other.heard == for_all
        assert front.heard == [*rows, *for_the_work, *untrue, *for_all], "here it is told as it is rung"


async def test_who_works_tells_the_others_no_more_than_what_is_for_all(url: str) -> None:
    async with process(url, "worker") as worker, process(url, "front") as front:
        async with worker.ledger.change() as change:
            await change.add(begun())
        worker.bell.ring(Unsure(), Checked("link", Finding.ALIVE))
        await front.until(lambda: front.heard)
        assert front.heard == [Checked("link", Finding.ALIVE)]


async def test_what_is_told_names_no_secret(url: str) -> None:
    servers = (PlexServer(id=Secret("planted-machine"), name=Secret("planted-name")),)
    pressed = Answer(message_id=7, token=Secret("planted-interaction"), at=NOW)
    async with process(url, "worker") as worker, process(url, "front") as front:
        said: list[str] = []
        worker.keeper._line.listen(said.append, lambda: None)
        front.bell.ring(PlexServersTold("link", servers), CardPressed(pressed))
        while len(said) < 2:  # noqa: ASYNC110 - a callback of the driver's
            await asyncio.sleep(0.01)
        assert said[0].startswith("plex_servers_told link plk1:a:")
        assert said[1].startswith(f"card_pressed 7 {NOW.isoformat()} plk1:a:")
        assert "planted" not in "".join(said)


async def test_words_that_a_newer_release_tells_are_passed_over(url: str) -> None:
    async with process(url, "worker") as worker, process(url, "front") as front:
        for words in ("levitate link", "server none", "checked link levitating", "attempt gone", ""):
            await front.keeper._line.ring(f"front {words}")
        front.bell.ring(Unsure())
        await worker.until(lambda: worker.heard)
        assert worker.heard == [Unsure()]


async def test_a_line_that_breaks_is_made_anew_and_what_was_missed_is_looked_for(url: str, postgres: Server) -> None:
    async with process(url, "worker") as worker, process(url, "front") as front:
        postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'plexlink'")
        while worker.is_resumed < 2:
            await worker.keeper._look()
            await front.keeper._look()
        front.bell.ring(Unsure())
        await worker.until(lambda: worker.heard)
        assert worker.epochs == [1], "it went on with its tenure"


def a_worker(
    *, may_work: Callable[[], bool] = lambda: True, is_overtaken: Callable[[], bool] = lambda: True, **hands: Any
) -> Worker:
    """Return one who has these hands and no others."""
    names = "asker presenter sign_outs given_up notices health access roles audits panels holders ledger"
    return Worker(
        **{**dict.fromkeys(names.split()), **hands},
        agenda=Agenda(pace=Pace(1.0)),
        clock=Clock(now=lambda: NOW, monotonic=lambda: 0.0),
        audit_days=1,
        may_work=may_work,
        fenced=lambda: None,
        is_overtaken=is_overtaken,
    )


ANSWER = Answer(message_id=1, token=Secret("interaction"), at=NOW)
DM = Place(lane=Lane.DM, channel_id=1, message_id=2)
DRAWN = begun(answer=ANSWER)
LEFT = replace(DRAWN, state=State.CANCELLED, ended_at=NOW, shown_state=Card.CANCELLED, answer=None)
SUCCESSOR = begun(shown_state=Card.WAITING, answer=ANSWER)
TOLD = replace(LEFT, place=ANSWER.place)
LINKED = begun(state=State.LINKED, ended_at=NOW, shown_state=Card.LINKED, place=ANSWER.place)
UNLINKING = replace(a_notice(), place=ANSWER.place, answer=ANSWER, shown=Phase.SIGNING_OUT)
IN_DM = replace(DRAWN, place=DM, shown_state=Card.QUEUED, answer=None)
CARD = Showing(user_id=42, content=AttemptCard(attempt=DRAWN, card=Card.WAITING), place=Place(), answer=ANSWER)
POINTER = Showing(user_id=42, content=Pointer(DM), place=ANSWER.place, answer=ANSWER)
NOTICE = Showing(user_id=42, content=UNLINKING, place=ANSWER.place, answer=ANSWER)


class Discord:
    """Discord takes everything."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def show(self, _: Showing) -> Place:
        return self._place

    async def see_to(self, **_: object) -> Kept:
        return Kept.CHANGED

    async def take_away(self, user_id: int, attempt_id: str) -> None: ...


@dataclass
class Hands:
    """Do a job as whoever works does; with `is_fenced`, its commit is refused."""

    doing: Callable[[], Any]
    is_fenced: bool = False
    is_done: asyncio.Event = field(default_factory=asyncio.Event)

    async def draw(self, _: str) -> None:
        await self.doing()
        self.is_done.set()
        if self.is_fenced:
            raise FencedError("Another process has begun to work.")


async def do(hand: Hand, doing: Callable[[], Any], *, is_overtaken: bool = True, is_fenced: bool = False) -> None:
    """Let a worker do something outside."""
    hands = Hands(doing, is_fenced=is_fenced)
    await a_worker(presenter=hands, hand=hand, is_overtaken=lambda: is_overtaken).work(Key(Kind.CARD, "attempt"))


async def show_late(overtaken: Process, shown: Showing, place: Place) -> None:
    await do(overtaken.hand, lambda: NotedNotifier(Discord(place)).show(shown))
    await overtaken.hand.put_down(overtaken.ledger)


@pytest.mark.parametrize(
    ("shown", "place", "rows", "redrawn"),
    [
        (CARD, ANSWER.place, [LEFT, SUCCESSOR], replace(SUCCESSOR, shown_state=None)),
        (CARD, ANSWER.place, [LEFT, LINKED], replace(LINKED, shown_state=None, answer=ANSWER)),
        (CARD, ANSWER.place, [LEFT, UNLINKING], replace(UNLINKING, shown=None)),
        (CARD, ANSWER.place, [TOLD], replace(TOLD, shown_state=None, answer=ANSWER)),
        (CARD, ANSWER.place, [LEFT], replace(TOLD, shown_state=None, answer=ANSWER)),
        (CARD, ANSWER.place, [IN_DM], replace(IN_DM, answer=ANSWER)),
        (CARD, DM, [IN_DM], replace(IN_DM, shown_state=None)),
        (CARD, DM, [TOLD], replace(TOLD, shown_state=None, place=DM)),
        (CARD, DM, [LEFT], replace(LEFT, shown_state=None, place=DM)),
        (POINTER, ANSWER.place, [SUCCESSOR], replace(SUCCESSOR, shown_state=None)),
        (NOTICE, ANSWER.place, [UNLINKING], replace(UNLINKING, shown=None)),
        (NOTICE, ANSWER.place, [LINKED], replace(LINKED, shown_state=None, answer=ANSWER)),
    ],
    ids=[
        *("over its successor", "over the end of another", "over a notice", "over its own end"),
        *("where nothing is known of", "where the way to it was", "in its message"),
        *("by message though it is told elsewhere", "by message though it is over"),
        *("a pointer over a card", "a notice over its newer word", "a notice over a card"),
    ],
)
async def test_what_was_shown_while_another_process_began_makes_way_for_what_is_true(
    url: str, shown: Showing, place: Place, rows: list[Attempt | Notice], redrawn: Happened
) -> None:
    async with process(url, "worker") as worker, process(url, "overtaken") as overtaken:
        await keep(worker, rows)
        await show_late(overtaken, shown, place)
        await worker.until(lambda: worker.heard)
        assert worker.heard == [redrawn]
        assert overtaken.hand == Hand()


@pytest.mark.parametrize(
    ("place", "newest"),
    [
        (ANSWER.place, None),
        (ANSWER.place, replace(IN_DM, answer=replace(ANSWER, message_id=3))),
        (replace(DM, message_id=4), None),
        (replace(DM, message_id=4), IN_DM),
    ],
    ids=["answer", "answer, it has moved to another", "message", "message, the second"],
)
async def test_what_nobody_else_knows_of_says_that_its_card_is_elsewhere(
    url: str, place: Place, newest: Attempt | None
) -> None:
    async with process(url, "worker") as worker, process(url, "overtaken") as overtaken:
        await keep(worker, [] if newest is None else [newest])
        await show_late(overtaken, CARD, place)
        await worker.until(lambda: worker.heard)
        (notice,) = worker.heard
        assert isinstance(notice, Notice)
        assert (notice.topic, notice.place) == (Topic.RETIRED, place)
        assert notice.answer == (ANSWER if place == ANSWER.place else None)


@pytest.mark.parametrize("known", [[LINKED], []], ids=["an end was told there", "nothing is known there"])
async def test_an_answer_that_discord_takes_nothing_for_any_more_is_left_as_it_is(
    url: str, known: list[Attempt]
) -> None:
    async with process(url, "worker") as worker, process(url, "overtaken") as overtaken:
        await keep(worker, known)
        old = replace(ANSWER, at=NOW - timedelta(minutes=15))
        card = AttemptCard(attempt=replace(DRAWN, answer=old), card=Card.WAITING)
        await show_late(overtaken, replace(CARD, content=card), ANSWER.place)
        await show_late(overtaken, replace(NOTICE, answer=old), ANSWER.place)
        await overtaken.keeper._line.ring(f"overtaken {carrying.written(Unsure(), a_vault())}")
        await worker.until(lambda: worker.heard)
        assert worker.heard == [Unsure()]


async def test_what_cannot_be_undone_now_is_undone_later(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with process(url, "worker") as worker, process(url, "overtaken") as overtaken:
        await keep(worker, [LEFT, SUCCESSOR])
        with monkeypatch.context() as patch:

            def fail(*_: object, **__: object) -> None:
                raise StoreUnavailableError("The database does not answer.")

            patch.setattr(overtaken.ledger, "change", fail)
            with pytest.raises(StoreUnavailableError):
                await show_late(overtaken, CARD, ANSWER.place)
        await overtaken.hand.put_down(overtaken.ledger)
        await worker.until(lambda: worker.heard)
        assert worker.heard == [replace(SUCCESSOR, shown_state=None)]


async def test_what_cannot_be_undone_at_all_keeps_nobody_from_working(url: str) -> None:
    async with process(url, "worker") as worker, process(url, "overtaken") as overtaken:
        await keep(worker, [LEFT, SUCCESSOR])

        async def break_down(_: object) -> None:
            raise ZeroDivisionError

        overtaken.hand.done[Key(Kind.CARD, "attempt")] = [break_down]
        await show_late(overtaken, CARD, ANSWER.place)
        await worker.until(lambda: worker.heard)
        assert worker.heard == [replace(SUCCESSOR, shown_state=None)]
        assert overtaken.hand == Hand()


@pytest.mark.parametrize(
    ("is_overtaken", "is_fenced", "kept"), [(False, False, 0), (True, False, 1), (False, True, 1)], ids=str
)
async def test_what_is_committed_by_the_one_that_works_is_not_undone(
    *, is_overtaken: bool, is_fenced: bool, kept: int
) -> None:
    hand = Hand()
    see_to = NotedRoles(Discord(DM)).see_to
    await do(
        hand,
        lambda: see_to(guild_id=7, user_id=42, role_id=70, has=True),
        is_overtaken=is_overtaken,
        is_fenced=is_fenced,
    )
    assert len(hand.done) == kept


async def keep(worker: Process, rows: list[Attempt | Notice]) -> None:
    async with worker.ledger.change() as change:
        for row in rows:
            await (change.tx.attempts if isinstance(row, Attempt) else change.tx.notices).add(row)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_wanted", [True, False])
async def test_a_role_that_was_given_or_taken_while_another_process_began_is_looked_at_again(
    url: str, *, is_wanted: bool
) -> None:
    async with process(url, "worker") as worker, process(url, "overtaken") as overtaken:
        async with worker.ledger.change() as change:
            roles = change.tx.memberships
            await roles.want_in(42, {7: 70}, Cause.LINKED, NOW)
            if not is_wanted:
                await roles.unwant_in(7, 42, Cause.UNLINKED, NOW)
            (membership,) = await roles.of(42)
            await roles.settle(membership, Standing.SETTLED, NOW)
        worker.heard.clear()
        see_to = NotedRoles(Discord(DM)).see_to
        await do(overtaken.hand, lambda: see_to(guild_id=7, user_id=42, role_id=70, has=not is_wanted))
        await overtaken.hand.put_down(overtaken.ledger)
        await worker.until(lambda: worker.heard)
        assert worker.heard == [ServerTouched(7)]
        async with worker.ledger.change() as change:
            (membership,) = await change.tx.memberships.of(42)
            assert (membership.standing, membership.is_wanted) == (Standing.DOUBTED, is_wanted)


async def test_what_was_due_while_a_process_slept_is_done_when_it_turns_out_that_it_works_on() -> None:
    hands, answers = Hands(lambda: asyncio.sleep(0)), iter([False, False])
    worker = a_worker(presenter=hands, hand=Hand(), may_work=lambda: next(answers, True))
    worker._agenda.start(worker.work)
    worker._agenda.put(Key(Kind.CARD, "attempt"), Purpose.FREE)
    await hands.is_done.wait()
    await worker._agenda.stop()
