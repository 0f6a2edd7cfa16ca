"""The link attempt as a state machine, against a table written here a second time."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plexlink import cards, flow
from plexlink.errors import IllegalTransitionError
from plexlink.models import Answer, Attempt, Card, Lane, Place, Reason, State
from plexlink.secret import Secret

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DEADLINE = NOW + timedelta(minutes=15)
FOURTEEN_TWENTY = timedelta(minutes=14, seconds=20)

PIN_CREATED = flow.PinCreated(Secret("1174342418"), Secret("KYLX"), DEADLINE)
GRANTED = flow.Granted(Secret("the-token-of-plex"))

ALLOWED = {
    (State.REQUESTED, flow.PinCreated): State.PENDING,
    (State.REQUESTED, flow.Cancelled): State.CANCELLED,
    (State.REQUESTED, flow.Failed): State.FAILED,
    (State.PENDING, flow.Granted): State.APPROVED,
    (State.PENDING, flow.RanOut): State.EXPIRED,
    (State.PENDING, flow.Cancelled): State.CANCELLED,
    (State.PENDING, flow.Failed): State.FAILED,
    (State.APPROVED, flow.Accepted): State.LINKED,
    (State.APPROVED, flow.Rejected): State.REFUSED,
    (State.APPROVED, flow.Cancelled): State.CANCELLED,
}
ENDS = {State.LINKED, State.REFUSED, State.EXPIRED, State.CANCELLED, State.FAILED}
OPEN = {State.REQUESTED, State.PENDING, State.APPROVED}
CALLS = {State.REQUESTED: flow.Call.CREATE_PIN, State.PENDING: flow.Call.ASK, State.APPROVED: flow.Call.READ_ACCOUNT}
SECRETS = ("client_identifier", "pin_id", "user_code", "token")
HELD = {
    State.REQUESTED: {"client_identifier"},
    State.PENDING: {"client_identifier", "pin_id", "user_code"},
    State.APPROVED: {"client_identifier", "token"},
    **{state: set() for state in ENDS},
}

texts = st.text(min_size=1).map(Secret)
events = st.one_of(
    st.builds(flow.PinCreated, texts, texts, st.just(DEADLINE)),
    st.builds(flow.Granted, texts),
    st.just(flow.Accepted()),
    st.builds(flow.Rejected, st.sampled_from(Reason)),
    st.just(flow.RanOut()),
    st.just(flow.Cancelled()),
    st.builds(flow.Failed, st.sampled_from(Reason)),
)
instants = st.integers(-100_000, 100_000).map(lambda seconds: NOW + timedelta(seconds=seconds))
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def an_answer(at: datetime = NOW) -> Answer:
    return Answer(message_id=7, token=Secret("interaction-token"), at=at)


def begun(*, lane: Lane | None = None, answer: Answer | None = None) -> Attempt:
    return flow.begin(
        user_id=42, guild_id=1, device_name="Discord: a via b", place=Place(lane=lane), answer=answer, now=NOW
    )


PATHS: dict[State, tuple[flow.Event, ...]] = {
    State.REQUESTED: (),
    State.PENDING: (PIN_CREATED,),
    State.APPROVED: (PIN_CREATED, GRANTED),
    State.LINKED: (PIN_CREATED, GRANTED, flow.Accepted()),
    State.REFUSED: (PIN_CREATED, GRANTED, flow.Rejected(Reason.TAKEN)),
    State.EXPIRED: (PIN_CREATED, flow.RanOut()),
    State.CANCELLED: (PIN_CREATED, flow.Cancelled()),
    State.FAILED: (flow.Failed(Reason.PLEX_REFUSED),),
}


def attempt_in(state: State, *, lane: Lane | None = None, answer: Answer | None = None) -> Attempt:
    attempt = begun(lane=lane, answer=answer)
    for event in PATHS[state]:
        attempt = flow.advance(attempt, event, NOW)
    assert attempt.state is state
    return attempt


# --- any event in any state; `tests/fuzz/test_flow.py` goes through sequences of them ---


def assert_is_sound(attempt: Attempt) -> None:
    """Hold an attempt to what its state says of it."""
    assert flow.is_over(attempt) == (attempt.state in ENDS)
    assert flow.next_call(attempt) == CALLS.get(attempt.state)
    assert {name for name in SECRETS if getattr(attempt, name) is not None} == HELD[attempt.state]


@pytest.mark.parametrize("state", State)
@unhurried
@given(event=events, now=instants, answer=st.none() | st.builds(an_answer), card=st.none() | st.sampled_from(Card))
def test_each_state_takes_exactly_the_events_of_the_table(
    state: State, event: flow.Event, now: datetime, answer: Answer | None, card: Card | None
) -> None:
    before = replace(attempt_in(state, lane=Lane.ANSWER, answer=answer), shown_state=card)
    assert_is_sound(before)
    expected = ALLOWED.get((state, type(event)))
    if expected is None:
        with pytest.raises(IllegalTransitionError) as raised:
            flow.advance(before, event, now)
        assert "Secret" not in str(raised.value)
        return
    after = flow.advance(before, event, now)
    assert (before.state, after.state) == (state, expected), "the older value is untouched"
    assert_is_sound(after)
    assert after.ended_at == (now if expected in ENDS else None)
    assert after.reason == getattr(event, "reason", None)
    assert after.client_identifier == (None if expected in ENDS else before.client_identifier)
    for name in ("id", "user_id", "guild_id", "device_name", "requested_at", "shown_state", "place", "answer"):
        assert getattr(after, name) == getattr(before, name)


def test_pin_and_token_are_kept_until_they_are_used() -> None:
    pending = attempt_in(State.PENDING)
    assert (pending.pin_id, pending.user_code, pending.deadline_at) == (
        PIN_CREATED.pin_id,
        PIN_CREATED.user_code,
        DEADLINE,
    )
    assert attempt_in(State.APPROVED).token == GRANTED.token


# --- beginning ---


def test_new_attempt_is_requested_and_remembers_who_asked() -> None:
    answer = an_answer()
    attempt = begun(lane=Lane.DM, answer=answer)
    assert attempt == Attempt(
        id=attempt.id,
        user_id=42,
        guild_id=1,
        device_name="Discord: a via b",
        state=State.REQUESTED,
        requested_at=NOW,
        client_identifier=attempt.client_identifier,
        place=Place(lane=Lane.DM),
        answer=answer,
    )


def test_ids_are_22_url_safe_characters_and_never_the_same() -> None:
    ids = [begun().id for _ in range(500)]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", each) for each in ids)
    assert len(set(ids)) == 500


def test_each_attempt_has_a_client_identifier_of_its_own() -> None:
    identifiers = {(begun().client_identifier or Secret("")).reveal() for _ in range(500)}
    assert len(identifiers) == 500
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", each) for each in identifiers)


# --- cards ---

PLAIN_CARDS = {
    State.REQUESTED: Card.QUEUED,
    State.PENDING: Card.WAITING,
    State.APPROVED: Card.APPROVED,
    State.LINKED: Card.LINKED,
    State.REFUSED: Card.REFUSED,
    State.EXPIRED: Card.EXPIRED,
    State.CANCELLED: Card.CANCELLED,
    State.FAILED: Card.FAILED,
}


@pytest.mark.parametrize("lane", [None, *Lane])
@pytest.mark.parametrize("state", State)
def test_each_state_has_its_card(state: State, lane: Lane | None) -> None:
    assert cards.card_for(attempt_in(state, lane=lane, answer=an_answer()), NOW) is PLAIN_CARDS[state]


@pytest.mark.parametrize("reason", [None, *Reason])
@pytest.mark.parametrize("state", sorted(ENDS))
def test_only_what_became_of_a_link_or_of_its_members_data_has_another_card(
    state: State, reason: Reason | None
) -> None:
    attempt = replace(attempt_in(state), reason=reason)
    fates = {
        Reason.UNDONE: Card.UNDONE,
        Reason.UNLINKED: Card.UNLINKED,
        Reason.REPLACED: Card.REPLACED,
        Reason.MOVED: Card.MOVED,
    }
    expected = fates.get(reason, Card.LINKED) if state is State.LINKED and reason else PLAIN_CARDS[state]
    assert cards.card_for(attempt, NOW) is (Card.FORGOTTEN if reason is Reason.FORGOTTEN else expected)


def test_account_of_another_member_waits_for_a_decision() -> None:
    later = NOW + timedelta(minutes=10)
    contested = flow.advance(attempt_in(State.APPROVED), flow.Contested(later), NOW)
    assert (contested.state, contested.reason, contested.deadline_at) == (State.APPROVED, Reason.TAKEN, later)
    assert contested.token is not None
    assert cards.card_for(contested, NOW) is Card.CONTESTED
    assert flow.next_call(contested) is flow.Call.DECIDE
    claimed = flow.advance(contested, flow.Claimed(), NOW)
    assert flow.next_call(claimed) is flow.Call.READ_ACCOUNT
    assert cards.card_for(claimed, NOW) is Card.APPROVED
    assert flow.advance(claimed, flow.Accepted(), NOW).reason is None
    assert flow.advance(contested, flow.Rejected(Reason.TAKEN), NOW).state is State.REFUSED


@pytest.mark.parametrize("state", State)
def test_only_a_contested_account_can_be_claimed(state: State) -> None:
    with pytest.raises(IllegalTransitionError):
        flow.advance(attempt_in(state), flow.Claimed(), NOW)


@pytest.mark.parametrize("lane", [None, Lane.DM])
@pytest.mark.parametrize(
    ("after_deadline", "card"),
    [
        (timedelta(seconds=-1), Card.WAITING),
        (timedelta(0), Card.WAITING),
        (timedelta(seconds=15) - timedelta(microseconds=1), Card.WAITING),
        (timedelta(seconds=15), Card.UNSURE),
        (timedelta(days=9), Card.UNSURE),
    ],
)
def test_pending_attempt_long_past_its_deadline_is_unsure(
    after_deadline: timedelta, card: Card, lane: Lane | None
) -> None:
    assert cards.card_for(attempt_in(State.PENDING, lane=lane), DEADLINE + after_deadline) is card


@pytest.mark.parametrize(
    ("age", "card"),
    [
        (timedelta(0), Card.WAITING),
        (FOURTEEN_TWENTY - timedelta(microseconds=1), Card.WAITING),
        (FOURTEEN_TWENTY, Card.EXPIRED),
        (timedelta(minutes=15, seconds=30), Card.EXPIRED),
    ],
)
def test_ephemeral_card_ends_itself_14_minutes_20_seconds_after_the_interaction(age: timedelta, card: Card) -> None:
    attempt = attempt_in(State.PENDING, lane=Lane.ANSWER, answer=an_answer())
    assert cards.card_for(attempt, NOW + age) is card
    assert cards.is_answer_closed(attempt.answer, NOW + age) == (card is Card.EXPIRED)
    assert flow.next_call(attempt) is flow.Call.ASK, "plex.tv is asked all the same"


def test_renewed_interaction_keeps_the_ephemeral_card_open() -> None:
    later = NOW + timedelta(minutes=14)
    attempt = attempt_in(State.PENDING, lane=Lane.ANSWER, answer=an_answer(at=later))
    assert cards.card_for(attempt, NOW + FOURTEEN_TWENTY) is Card.WAITING


def test_ephemeral_card_without_an_interaction_is_over() -> None:
    attempt = attempt_in(State.PENDING, lane=Lane.ANSWER)
    assert cards.is_answer_closed(attempt.answer, NOW)
    assert cards.card_for(attempt, NOW) is Card.EXPIRED


UNSURE_FROM = DEADLINE + timedelta(seconds=15)


@pytest.mark.parametrize(
    ("lane", "now", "changes_at"),
    [
        (Lane.DM, NOW, UNSURE_FROM),
        (None, NOW, UNSURE_FROM),
        (Lane.DM, UNSURE_FROM - timedelta(microseconds=1), UNSURE_FROM),
        (Lane.DM, UNSURE_FROM, None),
        (Lane.ANSWER, NOW, NOW + FOURTEEN_TWENTY),
        (Lane.ANSWER, NOW + FOURTEEN_TWENTY, UNSURE_FROM),
        (Lane.ANSWER, UNSURE_FROM, None),
    ],
)
def test_waiting_card_changes_by_the_clock_alone(lane: Lane | None, now: datetime, changes_at: datetime | None) -> None:
    assert cards.changes_at(attempt_in(State.PENDING, lane=lane, answer=an_answer()), now) == changes_at


@pytest.mark.parametrize("lane", [None, *Lane])
@pytest.mark.parametrize("state", sorted(set(State) - {State.PENDING}))
def test_only_a_waiting_card_changes_by_itself(state: State, lane: Lane | None) -> None:
    assert cards.changes_at(attempt_in(state, lane=lane, answer=an_answer()), NOW) is None


# --- what is left to show ---


@pytest.mark.parametrize("state", State)
def test_card_that_is_not_shown_needs_showing(state: State) -> None:
    attempt = attempt_in(state, lane=Lane.DM)
    assert cards.needs_showing(attempt, NOW)
    assert cards.needs_showing(replace(attempt, shown_state=Card.UNDONE), NOW)
    assert not cards.needs_showing(replace(attempt, shown_state=PLAIN_CARDS[state]), NOW)


@pytest.mark.parametrize("state", State)
def test_command_that_waits_for_its_answer_beside_a_direct_message_needs_showing(state: State) -> None:
    shown = replace(attempt_in(state, answer=an_answer()), shown_state=PLAIN_CARDS[state])
    assert cards.needs_showing(replace(shown, place=Place(lane=Lane.DM)), NOW)
    assert not cards.needs_showing(replace(shown, place=Place(lane=Lane.DM), answer=None), NOW)
    assert not cards.needs_showing(replace(shown, place=Place(lane=Lane.ANSWER)), NOW)


def test_card_needs_showing_again_when_time_has_changed_it() -> None:
    shown = replace(attempt_in(State.PENDING), shown_state=Card.WAITING)
    assert not cards.needs_showing(shown, DEADLINE)
    assert cards.needs_showing(shown, DEADLINE + timedelta(seconds=15))


def test_link_that_was_undone_is_unsettled_until_the_card_says_so() -> None:
    shown = replace(attempt_in(State.LINKED, lane=Lane.DM), shown_state=Card.LINKED)
    undone = replace(shown, reason=Reason.UNDONE)
    assert cards.is_settled(shown)
    assert not cards.is_settled(undone)
    assert cards.is_settled(replace(undone, shown_state=Card.UNDONE))


@pytest.mark.parametrize("reason", [Reason.UNDONE, Reason.REPLACED, Reason.FORGOTTEN])
def test_what_becomes_of_a_link_is_not_told_where_its_card_is_another_attempts(reason: Reason) -> None:
    left = replace(attempt_in(State.LINKED), shown_state=Card.LINKED, reason=reason)
    assert cards.has_left(left)
    assert cards.is_settled(left)
    never_told = replace(left, shown_state=Card.WAITING)
    assert not cards.has_left(never_told)
    assert not cards.is_settled(never_told)


def test_every_secret_of_an_attempt_is_known_to_this_test() -> None:
    kinds = {each.name for each in fields(Attempt) if "Secret" in str(each.type)}
    assert kinds == set(SECRETS)
