"""The time as Discord sees it, on a monotonic clock of our own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plexlink.clock import Clock

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Host:
    """A host whose wall clock is wrong by `off`, and may be set, while its monotonic clock only goes on."""

    def __init__(self, *, off: timedelta = timedelta(0)) -> None:
        self.passed = 0.0
        self.off = off
        self.clock = Clock(now=lambda: self.true + self.off, monotonic=lambda: 5000.0 + self.passed)

    @property
    def true(self) -> datetime:
        """The time as Discord has it."""
        return NOW + timedelta(seconds=self.passed)

    def wait(self, seconds: float) -> None:
        self.passed += seconds


def test_time_passes_with_the_monotonic_clock() -> None:
    host = Host()
    assert host.clock.now() == NOW
    host.wait(90.5)
    assert host.clock.now() == NOW + timedelta(seconds=90.5)
    assert host.clock.monotonic() == 5090.5


@pytest.mark.parametrize("off", [timedelta(hours=-7), timedelta(days=400)])
def test_setting_the_hosts_clock_changes_nothing(off: timedelta) -> None:
    host = Host()
    host.off = off
    host.wait(10)
    assert host.clock.now() == host.true


@pytest.mark.parametrize(
    "off", [timedelta(hours=-7), timedelta(seconds=-1), timedelta(0), timedelta(seconds=5.5), timedelta(days=400)]
)
def test_one_event_of_discord_sets_a_wrong_clock_right(off: timedelta) -> None:
    host = Host(off=off)
    host.wait(60)
    host.clock.observe(host.true)
    assert host.clock.now() == host.true
    host.wait(60)
    assert host.clock.now() == host.true


@pytest.mark.parametrize("seconds", [0, 0.2, 3, 5])
def test_event_that_was_on_its_way_does_not_turn_the_clock_back(seconds: float) -> None:
    host = Host()
    host.clock.observe(host.true - timedelta(seconds=seconds))
    assert host.clock.now() == host.true


def test_event_from_the_future_shows_that_the_clock_is_slow() -> None:
    host = Host()
    host.clock.observe(host.true + timedelta(microseconds=1))
    assert host.clock.now() == host.true + timedelta(microseconds=1)


@pytest.mark.parametrize("off", [timedelta(hours=1), timedelta(minutes=-10)], ids=["ahead", "held back"])
def test_one_stamp_that_is_far_off_moves_nothing_and_is_forgotten_by_the_next_right_one(off: timedelta) -> None:
    host = Host(off=timedelta(days=1))
    host.clock.observe(host.true)
    for _ in range(3):
        host.clock.observe(host.true + off)
        assert host.clock.now() == host.true
        host.wait(10)
        host.clock.observe(host.true)
        assert host.clock.now() == host.true


def test_what_discord_held_back_comes_all_at_once_and_moves_nothing() -> None:
    host = Host()
    host.clock.observe(host.true)
    host.wait(600)
    for seconds in (60, 58, 57, 54):
        host.clock.observe(host.true - timedelta(seconds=seconds))
        assert host.clock.now() == host.true


def test_stamps_that_go_on_agreeing_with_each_other_are_believed() -> None:
    host = Host(off=timedelta(days=1))
    host.clock.observe(host.true - timedelta(hours=1))
    for seconds in (2, 2, 2):
        assert host.clock.now() == host.true - timedelta(hours=1)
        host.clock.observe(host.true)
        host.wait(seconds)
    host.clock.observe(host.true)
    assert host.clock.now() == host.true


def test_a_first_stamp_that_was_wrong_is_made_up_for_by_one_that_the_hosts_clock_confirms() -> None:
    host = Host()
    host.clock.observe(host.true + timedelta(hours=1))
    host.wait(1)
    host.clock.observe(host.true)
    assert host.clock.now() == host.true


def test_after_the_machine_has_slept_the_first_stamp_is_believed() -> None:
    host = Host(off=timedelta(minutes=7))
    host.clock.observe(host.true)
    asleep = timedelta(hours=8)
    host.off += asleep
    host.clock.observe(host.true + asleep)
    assert host.clock.now() == host.true + asleep


def test_time_is_aware_and_in_utc_whatever_zone_the_event_had() -> None:
    host = Host(off=timedelta(hours=-1))
    host.clock.observe(host.true.astimezone(timezone(timedelta(hours=5, minutes=30))))
    assert host.clock.now() == host.true
    assert host.clock.now().tzinfo is UTC


@given(
    off=st.timedeltas(timedelta(days=-1000), timedelta(days=1000)),
    events=st.lists(st.tuples(st.floats(0, 10_000), st.floats(0, 3)), min_size=1, max_size=20),
)
def test_after_an_event_the_clock_is_never_off_by_more_than_its_way(
    off: timedelta, events: list[tuple[float, float]]
) -> None:
    host = Host(off=off)
    slack = timedelta(milliseconds=1)
    for wait, way in events:
        host.wait(wait)
        host.clock.observe(host.true - timedelta(seconds=way))
        assert -timedelta(seconds=3) - slack <= host.clock.now() - host.true <= timedelta(seconds=5) + slack
