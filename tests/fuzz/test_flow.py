"""A link attempt through whatever happens to it, in its own time: it ends once, keeps nothing, and its card is true."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from plexlink import cards, flow
from plexlink.errors import IllegalTransitionError
from plexlink.models import Answer, Card, Lane, Place, Reason, State, Trouble
from plexlink.secret import Secret

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)

ORDER = {
    State.REQUESTED: {State.PENDING, State.CANCELLED, State.FAILED},
    State.PENDING: {State.APPROVED, State.EXPIRED, State.CANCELLED, State.FAILED},
    State.APPROVED: {State.LINKED, State.REFUSED, State.CANCELLED},
}
SECRETS = ("client_identifier", "pin_id", "user_code", "token")

secrets = st.text(min_size=1).map("planted".__add__).map(Secret)
reasons = st.sampled_from(Reason)
lanes = st.none() | st.sampled_from(Lane)
spans = st.timedeltas(timedelta(0), timedelta(minutes=20)) | st.sampled_from([INSTANT, cards.LATE, cards.ANSWER_CLOSES])


class LinkAttempt(RuleBasedStateMachine):
    """Do to an attempt what the service, the asker, the presenter and a damaged database do, while time passes."""

    @initialize(lane=lanes, is_answerable=st.booleans())
    def begin(self, lane: Lane | None, *, is_answerable: bool) -> None:
        self.now = START
        answer = Answer(message_id=7, token=Secret("planted-interaction"), at=START) if is_answerable else None
        self.attempt = flow.begin(
            user_id=42, guild_id=None, device_name="Discord: a", place=Place(lane=lane), answer=answer, now=START
        )
        self.constant = (self.attempt.id, self.attempt.user_id, self.attempt.requested_at)
        self.end: State | None = None
        self.said = ""

    # --- what happens ---

    @rule(pin_id=secrets, user_code=secrets, life=spans)
    def create_pin(self, pin_id: Secret, user_code: Secret, life: timedelta) -> None:
        self.meet(flow.PinCreated(pin_id, user_code, self.now + life))

    @rule(token=secrets)
    def grant(self, token: Secret) -> None:
        self.meet(flow.Granted(token))

    @rule(reason=reasons, kind=st.sampled_from([flow.Failed, flow.Rejected]))
    def refuse(self, reason: Reason, kind: type[flow.Failed | flow.Rejected]) -> None:
        self.meet(kind(reason))

    @rule(event=st.sampled_from([flow.Accepted(), flow.RanOut(), flow.Cancelled()]))
    def go_on(self, event: flow.Event) -> None:
        self.meet(event)

    @precondition(lambda self: self.end is None)
    @rule(secret=secrets, event=st.sampled_from([flow.Accepted(), flow.Rejected(Reason.TAKEN)]))
    def come_nearer(self, secret: Secret, event: flow.Event) -> None:
        hoped_for = {
            State.REQUESTED: flow.PinCreated(secret, secret, self.now + timedelta(minutes=15)),
            State.PENDING: flow.Granted(secret),
        }
        self.meet(hoped_for.get(self.attempt.state, event))

    def meet(self, event: flow.Event) -> None:
        before = self.attempt
        try:
            self.attempt = flow.advance(before, event, self.now)
        except IllegalTransitionError as error:
            self.said = repr(error)
            return
        assert self.attempt.state in ORDER[before.state]
        if flow.is_over(self.attempt):
            assert self.end is None
            self.end = self.attempt.state
            assert self.attempt.ended_at == self.now

    # --- time, and what the member sees ---

    @rule(span=spans)
    def wait(self, span: timedelta) -> None:
        self.now += span

    @precondition(lambda self: cards.changes_at(self.attempt, self.now) is not None)
    @rule()
    def wait_until_the_card_changes(self) -> None:
        changes_at = cards.changes_at(self.attempt, self.now)
        assert changes_at is not None
        seen = replace(self.attempt, shown_state=cards.card_for(self.attempt, self.now))
        assert cards.card_for(seen, changes_at - INSTANT) is seen.shown_state
        self.now = changes_at

    @rule(lane=st.sampled_from(Lane))
    def draw(self, lane: Lane) -> None:
        for _ in range(2):  # what is true may depend on where it is shown
            card = cards.card_for(self.attempt, self.now)
            self.attempt = replace(self.attempt, shown_state=card, place=Place(lane=lane, channel_id=1, message_id=2))
        if lane is Lane.DM:
            self.attempt = replace(self.attempt, answer=None)
        assert not cards.needs_showing(self.attempt, self.now)
        assert cards.is_settled(self.attempt) == flow.is_over(self.attempt)

    @rule()
    def press(self) -> None:
        answer = Answer(message_id=8, token=Secret("planted-interaction"), at=self.now)
        self.attempt = replace(self.attempt, answer=answer, shown_state=None)

    @rule(card=st.none() | st.sampled_from(Card), trouble=st.none() | st.sampled_from(Trouble))
    def read_from_the_database(self, card: Card | None, trouble: Trouble | None) -> None:
        self.attempt = replace(self.attempt, shown_state=card, trouble=trouble)

    @precondition(lambda self: self.end is not None)
    @rule(reason=st.sampled_from([Reason.UNDONE, Reason.REPLACED]))
    def lose_the_link(self, reason: Reason) -> None:
        self.attempt = replace(self.attempt, reason=reason)

    # --- what is always true ---

    @invariant()
    def it_is_the_same_attempt(self) -> None:
        assert (self.attempt.id, self.attempt.user_id, self.attempt.requested_at) == self.constant

    @invariant()
    def an_end_is_the_end_and_keeps_nothing(self) -> None:
        if self.end is None:
            assert self.attempt.client_identifier is not None
            return
        assert self.attempt.state is self.end
        assert flow.is_over(self.attempt)
        assert flow.next_call(self.attempt) is None
        assert all(getattr(self.attempt, name) is None for name in SECRETS)

    @invariant()
    def pin_and_token_are_never_held_together(self) -> None:
        assert self.attempt.token is None or (self.attempt.pin_id is None and self.attempt.user_code is None)

    @invariant()
    def its_card_is_one_that_fits_and_changes_later_if_at_all(self) -> None:
        card = cards.card_for(self.attempt, self.now)
        is_waiting = card in {Card.WAITING, Card.UNSURE, Card.EXPIRED}
        assert is_waiting or self.attempt.state is not State.PENDING
        changes_at = cards.changes_at(self.attempt, self.now)
        assert changes_at is None or (changes_at > self.now and not flow.is_over(self.attempt))

    @invariant()
    def what_cannot_be_read_is_neither_asked_about_nor_shown(self) -> None:
        if self.attempt.trouble is not None and self.end is None:
            assert flow.next_call(self.attempt) is None
            assert not cards.needs_showing(self.attempt, self.now)

    @invariant()
    def what_is_settled_is_left_alone(self) -> None:
        if cards.is_settled(self.attempt):
            assert not cards.needs_showing(self.attempt, self.now + timedelta(days=365))

    @invariant()
    def nothing_secret_is_printed(self) -> None:
        assert "planted" not in f"{self.attempt!r} {self.said}"


LinkAttempt.TestCase.settings = settings(stateful_step_count=20)
TestLinkAttempt = LinkAttempt.TestCase
