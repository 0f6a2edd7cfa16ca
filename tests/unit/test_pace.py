"""The pace at which plex.tv is asked."""

from __future__ import annotations

import pytest

from plexlink.plex.pace import Pace

RATES = [0.05, 0.5, 1.0, 3.0, 1000.0]


def go(pace: Pace, now: float) -> float:
    """Take the next request as early as it may go; return when that was."""
    at = max(now, pace.ready_at())
    pace.take(at)
    return at


def slow_down(pace: Pace, now: float, retry_after: float | None, *, asked_at: float | None = None) -> None:
    """Hear a 429, which is answered at once if nothing else is said."""
    pace.slow_down(now, retry_after, asked_at=now if asked_at is None else asked_at)


def slowed(rate: float, *, times: int) -> Pace:
    pace, now = Pace(rate), 100.0
    for _ in range(times):
        slow_down(pace, now, None)
        now = pace.ready_at()
    return pace


def test_first_request_goes_at_once() -> None:
    assert Pace(1.0).ready_at() <= 0


@pytest.mark.parametrize("rate", RATES)
def test_requests_are_spaced_evenly(rate: float) -> None:
    pace = Pace(rate)
    times = [go(pace, 50.0) for _ in range(6)]
    assert times == pytest.approx([50.0 + number / rate for number in range(6)])


def test_quiet_time_saves_up_nothing() -> None:
    pace = Pace(1.0)
    go(pace, 0.0)
    assert [go(pace, 1000.0) for _ in range(3)] == [1000.0, 1001.0, 1002.0]


def test_rate_is_halved_by_a_429() -> None:
    assert [slowed(1.0, times=times).rate for times in range(4)] == [1.0, 0.5, 0.25, 0.125]


@pytest.mark.parametrize("retry_after", [None, 0.0, 1.0, 30.0])
def test_burst_of_429_counts_once(retry_after: float | None) -> None:
    pace = Pace(1.0)
    for sent_at in range(8):
        slow_down(pace, 100.0 + sent_at / 10, retry_after, asked_at=92.0 + sent_at)
    assert pace.rate == 0.5


def test_429_of_the_burst_that_arrives_after_the_pause_counts_no_more_than_the_others() -> None:
    pace = Pace(1.0)
    slow_down(pace, 100.0, 5.0, asked_at=98.0)
    go(pace, 105.0)
    slow_down(pace, 110.0, 5.0, asked_at=99.0)
    assert pace.rate == 0.5
    assert pace.paused_until() == 115.0


def test_429_to_a_request_that_was_granted_before_the_pause_and_sent_in_it_counts_no_more_than_the_others() -> None:
    pace = Pace(1.0)
    slow_down(pace, 100.0, 5.0, asked_at=98.0)
    slow_down(pace, 101.0, 5.0, asked_at=100.1)
    assert pace.rate == 0.5


def test_429_to_a_request_at_the_halved_rate_halves_it_again() -> None:
    pace = Pace(1.0)
    slow_down(pace, 100.0, 5.0, asked_at=98.0)
    asked_at = go(pace, 100.0)
    slow_down(pace, 106.0, 5.0, asked_at=99.0)
    slow_down(pace, 107.0, 5.0, asked_at=asked_at)
    assert pace.rate == 0.25


@pytest.mark.parametrize(("retry_after", "pause"), [(None, 5.0), (1.0, 1.0), (60.0, 60.0), (3600.0, 3600.0)])
def test_pause_is_what_plex_asks_for(retry_after: float | None, pause: float) -> None:
    pace = Pace(1.0)
    slow_down(pace, 100.0, retry_after)
    assert pace.paused_until() == pace.ready_at() == 100.0 + pause


def test_pause_is_kept_by_requests_that_were_taken_before() -> None:
    pace = Pace(1.0)
    for _ in range(20):
        go(pace, 0.0)
    slow_down(pace, 1.0, 2.0)
    assert pace.ready_at() == pytest.approx(20.0)


def test_after_a_pause_requests_go_at_the_lower_rate() -> None:
    pace = Pace(1.0)
    slow_down(pace, 100.0, 10.0)
    assert [go(pace, 100.0) for _ in range(3)] == [110.0, 112.0, 114.0]


def test_a_pause_outlives_the_process_that_was_told_of_it() -> None:
    told, wall = slowed(1.0, times=2), 1_800_000_000.0
    slow_down(told, 200.0, 60.0)
    kept = told.numbers(210.0, wall)
    next_one = Pace(1.0)
    next_one.recall(kept, 5.0, wall + 20)
    assert next_one.paused_until() == pytest.approx(5.0 + 30.0)
    assert next_one.rate == told.rate == 0.125


@pytest.mark.parametrize("later", [60.0, 1e6, -1e6], ids=["over", "long over", "of a clock that was wrong"])
def test_a_pause_that_is_over_or_cannot_be_true_is_forgotten(later: float) -> None:
    told, wall = Pace(1.0), 1_800_000_000.0
    slow_down(told, 200.0, 60.0)
    next_one = Pace(1.0)
    next_one.recall(told.numbers(200.0, wall), 5.0, wall + later)
    assert (next_one.paused_until(), next_one.rate) == (0.0, 1.0)
    next_one.recall({}, 5.0, wall)
    assert next_one.rate == 1.0
