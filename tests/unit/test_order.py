"""Which pending code is asked about next."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plexlink.work.order import People, Question, due_at, ranked

FIRST, AGAIN, AT_LATEST = 3.0, 2.0, 20.0

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ages = st.floats(0, 3600)
counts = st.floats(0.001, 100)
populations = st.builds(
    lambda *counts, never: People(tuple(zip((4.0, 10.0, 25.0, 60.0), counts, strict=True)), never),
    counts,
    counts,
    counts,
    counts,
    never=counts,
)


def by_sampling(people: People, asked: float, age: float) -> float:
    """Integrate the chance of having approved, given that there was nothing at `asked`, over the time since then."""

    def approved(at: float) -> float:
        return sum(
            count * (1 - math.exp(-at / step) * sum((at / step) ** n / math.factorial(n) for n in range(3)))
            for step, count in people.by_step_seconds
        )

    total = people.never + sum(count for _, count in people.by_step_seconds)
    steps = 2000
    width = (age - asked) / steps
    waited = sum((approved(asked + (n + 0.5) * width) - approved(asked)) * width for n in range(steps))
    return waited / (total - approved(asked))


def learned(approvals: list[tuple[float, float]], *, never: int = 0) -> People:
    people = People()
    for asked, age in approvals:
        people = people.after_approval(asked, age)
    for _ in range(never):
        people = people.after_silence(900.0)
    return people


# --- what a question is worth ---


@pytest.mark.parametrize(("asked", "age"), [(0, 3), (0, 30), (10, 12), (30, 60), (100, 110), (600, 690), (0, 900)])
def test_gain_is_the_waiting_that_the_question_ends_on_average(asked: float, age: float) -> None:
    people = People()
    assert people.gain(asked, age) == pytest.approx(by_sampling(people, asked, age), rel=1e-4)


@unhurried
@given(people=populations, asked=ages, waited=st.floats(0, 900))
def test_gain_is_never_negative_nor_more_than_the_time_that_has_passed(
    people: People, asked: float, waited: float
) -> None:
    assert -1e-9 <= people.gain(asked, asked + waited) <= waited + 1e-9


@unhurried
@given(people=populations, asked=ages, waited=st.lists(st.floats(0, 900), min_size=2, max_size=2).map(sorted))
def test_gain_grows_while_nobody_asks(people: People, asked: float, waited: list[float]) -> None:
    sooner, later = waited
    assert people.gain(asked, asked + sooner) <= people.gain(asked, asked + later) + 1e-9


def test_gain_is_highest_in_the_first_minute_and_low_after_ten() -> None:
    gains = {age: People().gain(age, age + 5) for age in (0, 15, 300, 600)}
    assert gains[15] > gains[0] > gains[300] > gains[600] > 0


# --- what is learned from how codes end ---


def test_quick_people_make_early_questions_worth_more_and_late_ones_less() -> None:
    people = learned([(8.0, 10.0)] * 30, never=6)
    assert people.gain(5, 10) > People().gain(5, 10)
    assert people.gain(120, 130) < People().gain(120, 130)


def test_slow_people_make_late_questions_worth_more_and_early_ones_less() -> None:
    people = learned([(140.0, 160.0)] * 30)
    assert people.gain(5, 10) < People().gain(5, 10)
    assert people.gain(120, 130) > People().gain(120, 130)


def test_people_who_never_approve_make_every_question_worth_less() -> None:
    people = learned([], never=30)
    assert people.gain(20, 30) < People().gain(20, 30)
    assert people.gain(300, 330) < People().gain(300, 330)


@unhurried
@given(approvals=st.lists(st.tuples(ages, st.floats(0.01, 900)), max_size=300), never=st.integers(0, 300))
def test_whatever_is_learned_all_sorts_stay_possible_and_two_hundred_people_are_remembered(
    approvals: list[tuple[float, float]], never: int
) -> None:
    people = learned([(asked, asked + waited) for asked, waited in approvals], never=never)
    all_counts = [count for _, count in people.by_step_seconds] + [people.never]
    assert min(all_counts) > 0
    assert sum(all_counts) <= 200.000001


@pytest.mark.parametrize(("asked", "age"), [(20.0, 20.0), (1e6, 1e6 + 5)])
def test_impossible_approval_teaches_nothing(asked: float, age: float) -> None:
    assert People().after_approval(asked, age) == People()


# --- from when on ---


def test_first_question_waits_three_seconds() -> None:
    assert due_at(People(), Question(100.0, 100.0)) == 103.0


@unhurried
@given(people=populations, shown=st.floats(0, 1e6), age=ages, left=st.floats(0, 900))
def test_question_is_due_between_two_and_twenty_seconds_after_the_one_before(
    people: People, shown: float, age: float, left: float
) -> None:
    asked = shown + age
    due = due_at(people, Question(shown, asked, asked + left))
    assert due <= asked + left
    assert due == asked + left or asked + AGAIN <= due + 1e-6
    assert due <= max(asked + AT_LATEST, shown + FIRST)


def test_questions_become_rarer_as_nobody_approves() -> None:
    at, gaps = 3.0, []
    while at < 900:
        due = due_at(People(), Question(0.0, at))
        gaps.append(due - at)
        at = due
    assert gaps[0] == AGAIN
    assert all(later >= sooner - 1e-6 for sooner, later in pairwise(gaps))
    assert gaps[-1] == pytest.approx(AT_LATEST)


# --- who first ---


def order_of(questions: dict[str, Question], now: float, rate: float = 1.0) -> list[str]:
    return ranked(People(), questions, now, crowd=len(questions), rate=rate)[::-1]


def test_of_two_of_the_same_age_the_one_that_waited_longer_goes_first() -> None:
    assert order_of({"b": Question(0, 15), "a": Question(0, 10)}, 20) == ["a", "b"]


def test_fresh_code_goes_before_an_old_one_that_waited_a_little_longer() -> None:
    assert order_of({"old": Question(0, 580), "fresh": Question(570, 590)}, 600) == ["fresh", "old"]


def test_old_code_that_waited_long_goes_before_a_fresh_one() -> None:
    assert order_of({"fresh": Question(570, 598), "old": Question(0, 530)}, 600) == ["old", "fresh"]


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("crowd", [1, 10, 30])
def test_nobody_waits_longer_than_ninety_requests_among_thirty(crowd: int, rate: float) -> None:
    """All are old but one, which is asked about again and again and is worth more each time."""
    now, waits = 600.0, []
    asked = {f"{number}": now for number in range(crowd - 1)}
    for _ in range(500):
        now += 1 / rate
        asked["fresh"] = now - 20
        questions = {name: Question(now - 30 if name == "fresh" else 0.0, at) for name, at in asked.items()}
        chosen, *_ = order_of(questions, now, rate)
        waits.append(now - asked[chosen])
        asked[chosen] = now
    assert max(waits) <= 90 / rate
    assert max(now - at for at in asked.values()) <= 90 / rate


def test_crowd_waits_longer_but_not_for_ever() -> None:
    crowd, now = 60, 1000.0
    questions = {f"{number}": Question(0.0, now - 10 * crowd - number) for number in range(crowd)}
    questions["fresh"] = Question(now - 30, now - 20)
    assert order_of(questions, now)[0] == f"{crowd - 1}"


@unhurried
@given(
    people=populations,
    asked=st.dictionaries(st.text(max_size=3), st.tuples(ages, ages), min_size=1, max_size=60),
    rate=st.floats(1 / 60, 10),
)
def test_all_questions_have_a_place_whatever_they_are(
    people: People, asked: dict[str, tuple[float, float]], rate: float
) -> None:
    questions = {name: Question(0.0, min(times)) for name, times in asked.items()}
    now = max(max(times) for times in asked.values())
    assert sorted(ranked(people, questions, now, crowd=len(questions), rate=rate)) == sorted(questions)


def test_who_pressed_in_vain_is_expected_to_approve_within_the_next_minute() -> None:
    at = 400.0
    waiting, pressed = Question(0.0, at), Question(0.0, at, pressed_at=at)
    assert due_at(People(), pressed) < due_at(People(), waiting)
    assert order_of({"waiting": Question(0.0, at - 10), "pressed": pressed}, at + 5) == ["pressed", "waiting"]
    later = at + 300
    assert due_at(People(), Question(0.0, later, pressed_at=at)) == due_at(People(), Question(0.0, later))


# --- what is kept ---


@given(people=populations)
def test_what_was_learned_is_recalled(people: People) -> None:
    assert People().recalling(people.numbers()) == people


@pytest.mark.parametrize("count", [math.nan, math.inf, -math.inf, -1.0, 0.0, 1e9, None])
@pytest.mark.parametrize("name", People().numbers())
def test_what_cannot_have_been_learned_is_not_recalled(name: str, count: float | None) -> None:
    kept = {**People().numbers(), "people_never": 3.0, name: count}
    numbers = {each: value for each, value in kept.items() if value is not None}
    assert People().recalling(numbers) == People()
