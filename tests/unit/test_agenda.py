"""Which job runs next, and when: in virtual time, which jumps to the next timer when nothing else is to be done."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections import defaultdict
from math import inf
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plexlink.plex.pace import Pace
from plexlink.work.agenda import Agenda, Key, Kind
from plexlink.work.order import Question
from plexlink.work.shares import WEIGHTS, Presses, Purpose
from virtual_time import armed, in_virtual_time, play

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MOST_AT_ONCE = 8
DRAIN_SECONDS = 6.0
COSTLY = [purpose for purpose in Purpose if purpose is not Purpose.FREE]
SLACK = 1e-6

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def key(name: str, kind: Kind = Kind.ATTEMPT) -> Key:
    return Key(kind, name)


class Bench:
    """An agenda, and a book of what it ran; jobs last as long as `lasts` says."""

    def __init__(self, *, rate: float = 1.0) -> None:
        self.pace = Pace(rate)
        self.agenda = Agenda(pace=self.pace)
        self.lasts: defaultdict[str, float] = defaultdict(float)
        self.does: dict[str, Callable[[Key], Awaitable[None]]] = {}
        self.began = asyncio.get_running_loop().time()
        self.ran: list[tuple[float, str]] = []
        self.ended: list[str] = []
        self.running: list[str] = []
        self.most_at_once = 0
        self.overlaps = 0

    def slow_down(self, retry_after: float | None = None, *, lasted: float = 0.0) -> None:
        """Let plex.tv answer a request with 429, `lasted` seconds after it was sent."""
        now = asyncio.get_running_loop().time()
        self.pace.slow_down(now, retry_after, asked_at=now - lasted)

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time() - self.began

    @property
    def names(self) -> list[str]:
        return [name for _, name in self.ran]

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.ran]

    def start(self) -> None:
        self.agenda.start(self.work)

    async def work(self, job: Key) -> None:
        self.overlaps += job.id in self.running
        self.ran.append((self.now, job.id))
        self.running.append(job.id)
        self.most_at_once = max(self.most_at_once, len(self.running))
        try:
            if job.id in self.does:
                await self.does[job.id](job)
            if self.lasts[job.id]:
                await asyncio.sleep(self.lasts[job.id])
            self.ended.append(job.id)
        finally:
            self.running.remove(job.id)

    async def until(self, seconds: float) -> None:
        """Let time pass until so many seconds after the beginning, and what is due then be done."""
        await asyncio.sleep(max(0.0, seconds - self.now))
        for _ in range(20):
            await asyncio.sleep(0)


def at_a_bench(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Give a test a bench whose agenda runs, in virtual time."""

    async def scenario(**arguments: Any) -> None:
        bench = Bench()
        bench.start()
        await test(bench, **arguments)

    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        play(lambda: scenario(**arguments))

    signature = inspect.signature(test)
    run.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
    return run


# --- when ---


@at_a_bench
async def test_jobs_run_in_the_order_in_which_they_are_due(bench: Bench) -> None:
    bench.agenda.put(key("five"), Purpose.POLL, 5)
    bench.agenda.put(key("two"), Purpose.POLL, 2)
    bench.agenda.put(key("nine"), Purpose.POLL, 9)
    bench.agenda.put(key("three"), Purpose.FREE, 3)
    bench.agenda.put(key("before now"), Purpose.FREE, -5)
    await bench.until(20)
    assert bench.ran == [(0.0, "before now"), (2.0, "two"), (3.0, "three"), (5.0, "five"), (9.0, "nine")]


@in_virtual_time
async def test_nothing_runs_before_the_start() -> None:
    bench = Bench()
    bench.agenda.put(key("a"), Purpose.FREE)
    await bench.until(10)
    assert bench.ran == []
    assert armed() == []
    bench.start()
    await bench.until(10)
    assert bench.ran == [(10.0, "a")]


@at_a_bench
async def test_one_timer_is_armed_whatever_is_planned_and_none_while_nothing_is(bench: Bench) -> None:
    assert armed() == []
    for number in range(50):
        bench.agenda.put(key(f"{number}"), Purpose.POLL, 1 + number)
        assert len(armed()) == 1
    for number in range(50):
        bench.agenda.drop(key(f"{number}"))
    assert armed() == []


# --- who first ---


@in_virtual_time
async def test_first_purpose_goes_first_when_the_pace_holds_them_up() -> None:
    bench = Bench()
    for purpose in reversed(COSTLY):
        bench.agenda.put(key(purpose.name), purpose)
    bench.start()
    await bench.until(60)
    assert bench.ran == [(0.0, "PRESSED"), (1.0, "ACCOUNT"), (2.0, "CREATE"), (3.0, "POLL"), (4.0, "BACKGROUND")]


@at_a_bench
async def test_of_the_same_purpose_the_earlier_due_goes_first(bench: Bench) -> None:
    bench.slow_down(10)
    for delay in (3, 1, 2):
        bench.agenda.put(key(f"due after {delay}"), Purpose.POLL, delay)
    bench.agenda.put(key("pressed last"), Purpose.PRESSED, 9)
    await bench.until(60)
    assert bench.names == ["pressed last", "due after 1", "due after 2", "due after 3"]
    assert bench.times == [10.0, 12.0, 14.0, 16.0]


@at_a_bench
async def test_a_newcomer_and_a_job_that_are_pressed_for_take_turns_with_what_waited(bench: Bench) -> None:
    for number in range(5):
        bench.agenda.put(key(f"poll {number}"), Purpose.POLL)
    await bench.until(1.5)
    bench.agenda.put(key("new"), Purpose.PRESSED)
    bench.agenda.put(key("poll 4"), Purpose.PRESSED)
    await bench.until(60)
    assert bench.names == ["poll 0", "poll 1", "new", "poll 2", "poll 4", "poll 3"]
    assert bench.times == [0, 1, 2, 3, 4, 5]


# --- free jobs ---


@at_a_bench
async def test_free_jobs_wait_for_nobody_and_cost_no_request(bench: Bench) -> None:
    for number in range(MOST_AT_ONCE + 2):
        bench.lasts[f"poll {number}"] = 1000
        bench.agenda.put(key(f"poll {number}"), Purpose.PRESSED)
    await bench.until(20)
    bench.agenda.put(key("cheap"), Purpose.FREE)
    await bench.until(20)
    assert bench.pace.ready_at() <= asyncio.get_running_loop().time()
    bench.slow_down(3600)
    for number in range(20):
        bench.lasts[f"free {number}"] = 1000
        bench.agenda.put(key(f"free {number}"), Purpose.FREE, number % 2)
    await bench.until(22)
    free = [at for at, name in bench.ran if name.startswith("free")]
    assert free == [20.0] * 10 + [21.0] * 10


# --- one key, one job ---


@at_a_bench
async def test_key_never_runs_twice_at_once(bench: Bench) -> None:
    bench.lasts["a"] = 10
    bench.agenda.put(key("a"), Purpose.PRESSED)
    await bench.until(1)
    bench.agenda.put(key("a"), Purpose.FREE)
    bench.agenda.put(key("b"), Purpose.POLL)
    await bench.until(5)
    assert bench.ran == [(0.0, "a"), (1.0, "b")]
    await bench.until(10)
    assert bench.ran[2:] == [(10.0, "a")]
    await bench.until(30)
    assert len(bench.ran) == 3


@at_a_bench
async def test_keys_of_different_kinds_are_different_jobs(bench: Bench) -> None:
    for kind in Kind:
        bench.agenda.put(key("same", kind), Purpose.FREE)
    await bench.until(0)
    assert len(bench.ran) == len(Kind)


@at_a_bench
async def test_is_planned_while_waiting_and_while_running(bench: Bench) -> None:
    bench.lasts["a"] = 5
    assert not bench.agenda.is_planned(key("a"))
    bench.agenda.put(key("a"), Purpose.POLL, 1)
    assert bench.agenda.is_planned(key("a"))
    await bench.until(2)
    assert bench.running == ["a"]
    assert bench.agenda.is_planned(key("a"))
    await bench.until(7)
    assert not bench.agenda.is_planned(key("a"))


# --- planning anew ---


@pytest.mark.parametrize(("first", "second"), [(5, 10), (10, 5), (5, 5), (0.5, 0)])
@at_a_bench
async def test_put_replaces_what_was_planned(bench: Bench, first: float, second: float) -> None:
    bench.agenda.put(key("a"), Purpose.POLL, first)
    bench.agenda.put(key("a"), Purpose.FREE, second)
    await bench.until(60)
    assert bench.ran == [(second, "a")]


@pytest.mark.parametrize(("first", "second", "at"), [(5, 10, 5), (10, 5, 5), (None, 5, 5), (5, 0, 0)])
@at_a_bench
async def test_put_sooner_keeps_the_earlier_time(bench: Bench, first: float | None, second: float, at: float) -> None:
    if first is not None:
        bench.agenda.put(key("a"), Purpose.POLL, first)
    bench.agenda.put_sooner(key("a"), Purpose.POLL, second)
    await bench.until(60)
    assert bench.ran == [(at, "a")]


@at_a_bench
async def test_retry_waits_twice_as_long_each_time_up_to_the_longest(bench: Bench) -> None:
    delays = []

    async def fail(job: Key) -> None:
        if len(delays) < 6:
            delays.append(bench.agenda.retry(job, Purpose.POLL))

    bench.does["a"] = fail
    bench.agenda.put(key("a"), Purpose.POLL)
    await bench.until(600)
    assert delays == [3.0, 6.0, 12.0, 24.0, 30.0, 30.0]
    assert bench.times == [0.0, 3.0, 9.0, 21.0, 45.0, 75.0, 105.0]
    assert bench.agenda.failures(key("a")) == 0, "it was not planned again"


@at_a_bench
async def test_success_lets_the_next_retry_be_short_again(bench: Bench) -> None:
    agenda = bench.agenda
    assert [agenda.retry(key("a"), Purpose.POLL) for _ in range(3)] == [3.0, 6.0, 12.0]
    agenda.succeeded(key("a"))
    assert agenda.failures(key("a")) == 0
    assert agenda.retry(key("a"), Purpose.POLL) == 3.0
    assert agenda.retry(key("b"), Purpose.POLL) == 3.0, "another key has failures of its own"
    agenda.succeeded(key("never failed"))


@at_a_bench
async def test_retry_takes_its_own_first_and_longest_delay_however_often_it_failed(bench: Bench) -> None:
    agenda = bench.agenda
    delays = [agenda.retry(key("a"), Purpose.BACKGROUND, first_seconds=60, longest_seconds=1800) for _ in range(2000)]
    assert delays[:6] == [60.0, 120.0, 240.0, 480.0, 960.0, 1800.0]
    assert set(delays[6:]) == {1800.0}


@at_a_bench
async def test_dropped_job_does_not_run_and_its_failures_are_forgotten(bench: Bench) -> None:
    bench.agenda.retry(key("a"), Purpose.POLL)
    bench.agenda.put(key("waits for the pace"), Purpose.POLL)
    bench.agenda.put(key("too"), Purpose.POLL)
    for name in ("a", "too", "never planned"):
        bench.agenda.drop(key(name))
        assert not bench.agenda.is_planned(key(name))
    assert armed() == []
    await bench.until(60)
    assert bench.names == ["waits for the pace"]
    assert bench.agenda.failures(key("a")) == 0


@at_a_bench
async def test_dropping_a_running_job_lets_it_finish_but_not_run_again(bench: Bench) -> None:
    bench.lasts["a"] = 5
    bench.agenda.put(key("a"), Purpose.POLL)
    await bench.until(1)
    bench.agenda.put(key("a"), Purpose.POLL)
    bench.agenda.drop(key("a"))
    await bench.until(60)
    assert (bench.names, bench.ended) == (["a"], ["a"])


@pytest.mark.parametrize("plan", ["retry", "question"])
@at_a_bench
async def test_neither_retry_nor_question_puts_off_what_is_planned_sooner(bench: Bench, plan: str) -> None:
    bench.agenda.put(key("a"), Purpose.PRESSED, 1)
    if plan == "retry":
        bench.agenda.retry(key("a"), Purpose.POLL)
    else:
        ask(bench, "a")
    await bench.until(60)
    assert bench.times == [1.0]


# --- how many ---


@in_virtual_time
async def test_at_most_eight_ask_at_once_and_a_press_takes_the_first_free_place() -> None:
    bench = Bench(rate=1000)
    bench.start()
    for number in range(20):
        bench.lasts[f"{number}"] = 10 + number
        bench.agenda.put(key(f"{number}"), Purpose.POLL)
    await bench.until(5)
    assert len(bench.running) == MOST_AT_ONCE
    bench.agenda.put(key("pressed"), Purpose.PRESSED)
    await bench.until(200)
    assert bench.most_at_once == MOST_AT_ONCE
    assert bench.names[MOST_AT_ONCE] == "pressed"
    assert len(bench.ended) == 21


@unhurried
@given(
    rate=st.floats(0.05, 50),
    jobs=st.lists(st.tuples(st.sampled_from(COSTLY), st.floats(0, 20), st.floats(0, 5)), min_size=1, max_size=40),
    slowed_at=st.lists(st.tuples(st.floats(0, 30), st.none() | st.floats(0, 60)), max_size=3),
)
def test_requests_never_exceed_the_rate_over_any_window(
    rate: float, jobs: list[tuple[Purpose, float, float]], slowed_at: list[tuple[float, float | None]]
) -> None:
    async def scenario() -> None:
        bench = Bench(rate=rate)
        bench.start()
        loop = asyncio.get_running_loop()
        for number, (purpose, delay, lasts) in enumerate(jobs):
            bench.lasts[f"{number}"] = lasts
            bench.agenda.put(key(f"{number}"), purpose, delay)
        for at, retry_after in slowed_at:
            loop.call_at(bench.began + at, lambda after=retry_after: bench.slow_down(after))
        await bench.until(100_000)
        assert len(bench.ran) == len(jobs)
        for first, begin in enumerate(bench.times):
            for count, end in enumerate(bench.times[first:]):
                assert count <= (end - begin) * rate + SLACK * len(jobs) * rate + SLACK
        await bench.agenda.stop()

    play(scenario)


# --- anything at all ---

names = st.sampled_from("abcdef")
purposes = st.sampled_from(Purpose)
delays = st.sampled_from([0.0, 0.5, 1.0, 3.0, 10.0])
operations = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["put", "put_sooner"]), names, purposes, delays),
        st.tuples(st.just("retry"), names, purposes),
        st.tuples(st.sampled_from(["drop", "succeeded"]), names),
        st.tuples(st.just("lasts"), names, delays),
        st.tuples(st.just("slow_down"), st.none() | st.floats(0, 20)),
        st.tuples(st.just("recover")),
        st.tuples(st.just("wait"), st.sampled_from([0.0, 0.1, 1.0, 5.0])),
    ),
    max_size=40,
)


async def perform(bench: Bench, operation: tuple[Any, ...]) -> None:
    match operation:
        case "put" | "put_sooner" | "retry" as method, name, *others:
            getattr(bench.agenda, method)(key(name), *others)
        case "drop" | "succeeded" as method, name:
            getattr(bench.agenda, method)(key(name))
        case "lasts", name, seconds:
            bench.lasts[name] = seconds
        case "slow_down", retry_after:
            bench.slow_down(retry_after)
        case ("recover",):
            bench.pace.recover()
        case "wait", seconds:
            await bench.until(bench.now + seconds)


@settings(unhurried, max_examples=300)
@given(operations=operations, rate=st.sampled_from([0.05, 1.0, 5.0]))
def test_everything_planned_runs_once_in_the_end_and_then_nothing_is_armed(
    operations: list[tuple[Any, ...]], rate: float
) -> None:
    async def scenario() -> None:
        bench = Bench(rate=rate)
        bench.start()
        for operation in operations:
            await perform(bench, operation)
            assert len(armed()) <= 1 + len(bench.running)
        await bench.until(bench.now)
        waiting = [name for name in "abcdef" if key(name) in bench.agenda._planned]
        before = len(bench.ran)
        await bench.until(bench.now + 100_000)
        assert sorted(bench.names[before:]) == waiting
        assert bench.running == []
        assert armed() == []
        assert bench.overlaps == 0
        assert not any(bench.agenda.is_planned(key(name)) for name in "abcdef")

    play(scenario)


# --- stopping ---


@at_a_bench
async def test_stopping_waits_for_running_jobs_and_starts_nothing_more(bench: Bench) -> None:
    async def plan(_: Key) -> None:
        await asyncio.sleep(6)
        bench.agenda.put(key("next"), Purpose.FREE)

    bench.does["running"] = plan
    bench.agenda.put(key("running"), Purpose.POLL)
    bench.agenda.put(key("waiting"), Purpose.POLL)
    bench.agenda.put(key("later"), Purpose.FREE, 2)
    await bench.until(0.5)
    await bench.agenda.stop()
    assert (bench.now, bench.ended) == (6.0, ["running"])
    bench.agenda.put(key("new"), Purpose.FREE)
    bench.agenda.put_sooner(key("newer"), Purpose.PRESSED)
    await bench.until(60)
    assert bench.names == ["running"]
    assert armed() == []


@at_a_bench
async def test_job_that_does_not_end_is_cancelled_after_six_seconds(bench: Bench) -> None:
    bench.lasts |= {"long": 1000, "short": 3}
    bench.agenda.put(key("long"), Purpose.FREE)
    bench.agenda.put(key("short"), Purpose.FREE)
    await bench.until(0)
    await bench.agenda.stop()
    assert bench.now == DRAIN_SECONDS
    assert (bench.ended, bench.running) == (["short"], [])


@at_a_bench
async def test_stopping_an_idle_agenda_takes_no_time_however_often(bench: Bench) -> None:
    bench.agenda.put(key("later"), Purpose.POLL, 5)
    await bench.agenda.stop()
    await bench.agenda.stop()
    assert (bench.now, armed()) == (0.0, [])


# --- jobs that raise ---


@at_a_bench
async def test_job_that_raises_is_logged_and_the_others_go_on(bench: Bench) -> None:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    log = logging.getLogger("plexlink.work.agenda")

    async def fail(_: Key) -> None:
        raise ValueError("a mistake")

    bench.does["bad"] = fail
    log.addHandler(handler)
    try:
        bench.agenda.put(key("bad"), Purpose.POLL)
        bench.agenda.put(key("good"), Purpose.POLL)
        await bench.until(5)
    finally:
        log.removeHandler(handler)
    assert bench.ended == ["good"]
    assert not bench.agenda.is_planned(key("bad"))
    assert [record.getMessage() for record in records] == ["agenda.job_raised kind=attempt"]


# --- how long it would take ---


@at_a_bench
async def test_expected_wait_is_nothing_while_nobody_waits(bench: Bench) -> None:
    assert bench.agenda.expected_wait_seconds(key("unknown")) == 0.0
    bench.lasts["runs"] = 5
    bench.agenda.put(key("runs"), Purpose.CREATE)
    await bench.until(1)
    assert bench.agenda.expected_wait_seconds(key("runs")) == 0.0


@at_a_bench
async def test_expected_wait_counts_the_pause_and_the_time_until_the_job_is_due(bench: Bench) -> None:
    bench.agenda.put(key("failed"), Purpose.CREATE, 12)
    assert bench.agenda.expected_wait_seconds(key("failed")) == 12
    bench.agenda.drop(key("failed"))
    bench.slow_down(60)
    for name in ("first", "second"):
        bench.agenda.put(key(name), Purpose.CREATE)
    assert bench.agenda.expected_wait_seconds(key("first")) == 60
    assert bench.agenda.expected_wait_seconds(key("second")) == 60 + 1 / 0.5


@unhurried
@given(rate=st.floats(0.05, 50), ahead=st.lists(st.sampled_from(COSTLY), max_size=20))
def test_expected_wait_is_what_the_wait_will_be(rate: float, ahead: list[Purpose]) -> None:
    async def scenario() -> None:
        bench = Bench(rate=rate)
        bench.start()
        for number, purpose in enumerate([*ahead, Purpose.CREATE]):
            bench.agenda.put(key(f"{number}"), purpose)
        mine = key(f"{len(ahead)}")
        expected = bench.agenda.expected_wait_seconds(mine)
        await bench.until(10_000)
        assert next(at for at, name in bench.ran if name == mine.id) == pytest.approx(expected, abs=SLACK)

    play(scenario)


# --- questions about pending codes ---


def ask(bench: Bench, name: str, *, shown: float = 0.0, asked: float | None = None, last: float = 900.0) -> None:
    """Plan a question about a code, instants counted from the beginning."""
    question = Question(bench.began + shown, bench.began + (shown if asked is None else asked), bench.began + last)
    bench.agenda.put_question(key(name), question)


def asks_again(bench: Bench, name: str, *, last: float = 900.0) -> None:
    """Let a code be asked about in vain, again and again, until its last chance."""

    async def again(_: Key) -> None:
        if bench.now < last:
            ask(bench, name, asked=bench.now, last=last)

    bench.does[name] = again
    ask(bench, name, last=last)


@at_a_bench
async def test_last_question_goes_just_when_it_can_still_help_ahead_of_all_that_has_time(bench: Bench) -> None:
    asks_again(bench, "ends", last=30.5)
    for number in range(50):
        bench.agenda.put(key(f"create {number}"), Purpose.CREATE)
    await bench.until(60)
    assert (30.5, "ends") in bench.ran
    assert (29.0, "create") in [(at, name.split()[0]) for at, name in bench.ran], "no request waits longer than it must"


@at_a_bench
async def test_last_chances_at_the_same_time_are_all_used_and_let_others_go_in_between(bench: Bench) -> None:
    asyncio.get_running_loop().late_by = 0.001  # type: ignore[attr-defined]
    for number in range(20):
        asks_again(bench, f"ends {number}", last=100.0)
        bench.agenda.put(key(f"create {number}"), Purpose.CREATE, 50)
    await bench.until(102)
    last = {name: at for at, name in bench.ran if name.startswith("ends")}
    assert all(at > 50 for at in last.values())
    assert sum(80 <= at <= 100 for at in set(bench.times) - set(last.values())) >= 8
    assert sum(name.startswith("create") and at <= 100 for at, name in bench.ran) >= 15


@at_a_bench
async def test_each_last_chance_is_had_right_at_its_end_where_nobody_waits_for_anything_else(bench: Bench) -> None:
    for number in range(12):
        asks_again(bench, f"{number}", last=100.0 + number)
    bench.agenda.put(key("sign out"), Purpose.BACKGROUND, 105)
    await bench.until(130)
    assert {(100.0 + number, f"{number}") for number in range(12)} <= set(bench.ran)
    assert "sign out" in bench.names


@pytest.mark.parametrize("since", [90.0, 98.9, 99.3, 100.2, 103.5])
@at_a_bench
async def test_who_comes_between_last_chances_costs_nobody_theirs(bench: Bench, since: float) -> None:
    asyncio.get_running_loop().late_by = 0.005  # type: ignore[attr-defined]
    for number in range(8):
        asks_again(bench, f"{number}", last=100.0 + number)
    bench.agenda.put(key("create"), Purpose.CREATE, since)
    await bench.until(130)
    for number in range(8):
        assert any(-0.5 <= 100.0 + number - at <= 8.0 for at, name in bench.ran if name == f"{number}")
    assert bench.times[bench.names.index("create")] <= since + 9.0


@at_a_bench
async def test_whoever_waits_goes_on_in_the_longest_row_of_last_chances(bench: Bench) -> None:
    for number in range(60):
        asks_again(bench, f"{number}", last=100.0 + number)
    for number in range(5):
        bench.agenda.put(key(f"create {number}"), Purpose.CREATE, 105)
    await bench.until(200)
    created = [at for at, name in bench.ran if name.startswith("create")]
    assert created[0] <= 105 + 9
    assert created[-1] <= 105 + 5 * 9 + 1
    lost = [n for n in range(60) if not any(-0.5 <= 100.0 + n - at <= 9 for at, name in bench.ran if name == f"{n}")]
    assert len(lost) <= 5


@pytest.mark.parametrize("others", [0, 30])
@pytest.mark.parametrize("apart", [0.0, 0.5, 1.0])
@at_a_bench
async def test_what_fails_at_its_last_chance_does_not_take_those_of_others(
    bench: Bench, apart: float, others: int
) -> None:
    async def fails(job: Key) -> None:
        if bench.now < 100.0:
            bench.agenda.retry(job, Purpose.POLL, last_chance_seconds=100.0 - bench.now)

    for number in range(20):
        asks_again(bench, f"{number}", last=100.0 + apart * number)
    bench.does["0"] = fails
    for number in range(others):
        bench.agenda.put(key(f"create {number}"), Purpose.CREATE, 60)
    await bench.until(130)
    early = [100.0 + apart * int(name) - at for at, name in bench.ran if not name.startswith("create")]
    names = [name for _, name in bench.ran if not name.startswith("create")]
    last = {name: seconds for name, seconds in zip(names, early, strict=True) if seconds >= 0.0}
    assert max(last.values()) <= 19 * (2 if others else 1) - 19 * apart, "as if each had been asked about once"
    assert sum(name == "0" and at > 70 for at, name in bench.ran) <= 4


@at_a_bench
async def test_no_pause_is_so_long_that_a_last_chance_is_missed(bench: Bench) -> None:
    bench.agenda.put(key("look"), Purpose.BACKGROUND, 50, last_chance_seconds=100)
    bench.agenda.put(key("other"), Purpose.PRESSED, 50)
    bench.slow_down(3600)
    await bench.until(5000)
    assert bench.ran == [(100.0, "look"), (3600.0, "other")]


@at_a_bench
async def test_who_asks_for_the_same_again_keeps_the_place_in_line(bench: Bench) -> None:
    bench.slow_down(60)
    for name in ("first", "second", "third"):
        bench.agenda.put_in_line(key(name), Purpose.PRESSED)
    for since in (0.0, 0.0, 5.0, inf):  # when the next press would have been heard at once
        bench.agenda.put_in_line(key("first"), Purpose.PRESSED, -since)
    bench.agenda.put(key("question"), Purpose.POLL)
    bench.agenda.put_in_line(key("question"), Purpose.PRESSED)
    await bench.until(200)
    assert bench.names == ["first", "second", "third", "question"]


@at_a_bench
async def test_last_chances_in_a_pause_come_as_late_as_the_pace_lets_them(bench: Bench) -> None:
    bench.slow_down(3600)
    for number in range(20):
        asks_again(bench, f"ends {number}", last=100.0)
    await bench.until(200)
    apart = 1 / bench.agenda.pace.rate
    assert len(bench.times) == 20
    assert min(bench.times) == pytest.approx(100 - 19 * apart, abs=apart)


@at_a_bench
async def test_question_of_highest_gain_goes_first_when_the_pace_holds_them_up(bench: Bench) -> None:
    bench.slow_down(600)
    await bench.until(597)
    for name, shown, asked in [("old", 0, 580), ("newest", 597, 597), ("fresh", 570, 590), ("forgotten", 0, 530)]:
        ask(bench, name, shown=shown, asked=asked)
    await bench.until(650)
    assert bench.names == ["fresh", "newest", "forgotten", "old"]


@at_a_bench
async def test_dropped_question_is_not_asked_though_it_waits_for_the_pace(bench: Bench) -> None:
    bench.slow_down(20)
    for name in ("dropped", "kept", "pressed"):
        ask(bench, name)
    await bench.until(10)
    bench.agenda.drop(key("dropped"))
    bench.agenda.put(key("pressed"), Purpose.PRESSED)
    await bench.until(100)
    assert bench.names == ["pressed", "kept"]
    assert armed() == []


@at_a_bench
async def test_question_waits_for_the_end_of_the_same_job(bench: Bench) -> None:
    bench.lasts["a"] = 30
    ask(bench, "a")
    await bench.until(5)
    ask(bench, "a", asked=3.0)
    await bench.until(100)
    assert bench.times == [3.0, 33.0]
    assert bench.overlaps == 0


# --- shares ---


def always(bench: Bench, purpose: Purpose) -> None:
    """Let there be work of a sort all the time."""

    async def again(job: Key) -> None:
        bench.agenda.put(job, purpose)

    for number in range(3):
        bench.does[f"{purpose.name} {number}"] = again
        bench.agenda.put(key(f"{purpose.name} {number}"), purpose)


@pytest.mark.parametrize(
    "others", [[Purpose.POLL], [Purpose.BACKGROUND], [one for one in COSTLY if one is not Purpose.PRESSED]]
)
@at_a_bench
async def test_presses_get_half_of_the_requests_at_most(bench: Bench, others: list[Purpose]) -> None:
    for purpose in [Purpose.PRESSED, *others]:
        always(bench, purpose)
    await bench.until(1000)
    assert 90 < sum(name.startswith("PRESSED") for name in bench.names) <= 501


@unhurried
@given(at_work=st.sets(st.sampled_from(COSTLY), min_size=1))
def test_whatever_else_waits_each_sort_of_work_has_its_share(at_work: set[Purpose]) -> None:
    async def scenario() -> None:
        bench = Bench()
        for purpose in at_work:
            always(bench, purpose)
        bench.start()
        await bench.until(300)
        whole = sum(WEIGHTS[purpose] for purpose in at_work)
        for purpose in at_work - {Purpose.PRESSED}:
            share = sum(name.startswith(purpose.name) for name in bench.names) / len(bench.names)
            assert share >= WEIGHTS[purpose] / whole - 0.02
        await bench.agenda.stop()

    play(scenario)


@at_a_bench
async def test_who_had_nothing_to_do_comes_at_once_but_has_saved_nothing_up(bench: Bench) -> None:
    always(bench, Purpose.POLL)
    await bench.until(500.5)
    always(bench, Purpose.BACKGROUND)
    await bench.until(600.5)
    later = [name.split()[0] for at, name in bench.ran if at > 500]
    assert later[0] == "BACKGROUND"
    assert later.count("BACKGROUND") == 20


def test_press_after_press_is_heard_later_each_time_and_the_first_one_at_once() -> None:
    presses, heard = Presses(), []
    while len(heard) < 5:
        heard.append(max(presses.next_at, heard[-1] if heard else 0.0))
        presses = presses.after(heard[-1])
    assert heard == [0.0, 3.0, 9.0, 21.0, 33.0]
    assert presses.after(heard[-1] + 61).next_at == heard[-1] + 64
