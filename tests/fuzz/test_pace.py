"""The pace of questions to plex.tv, whatever happens: never more than was promised, never nothing for ever."""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from plexlink.plex.pace import Pace

SLACK = 1e-6
LONGEST_PAUSE = 3600.0
SLOWEST = 1 / 60


class AskingPlex(RuleBasedStateMachine):
    """Ask as early as the pace lets us, hear 429 now and then, and keep a book of what went."""

    @initialize(rate=st.floats(0.05, 1000), now=st.floats(0, 1e6))
    def begin(self, rate: float, now: float) -> None:
        self.pace, self.rate, self.now = Pace(rate), rate, now
        self.asked: deque[float] = deque(maxlen=50)
        self.quiet_until = 0.0

    @rule(seconds=st.floats(0, 7200))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(times=st.integers(1, 30))
    def ask(self, times: int) -> None:
        for _ in range(times):
            self.now = max(self.now, self.pace.ready_at())
            assert self.now >= self.quiet_until, "plex.tv wanted to be left alone"
            self.pace.take(self.now)
            self.asked.append(self.now)

    @rule(retry_after=st.none() | st.floats(0, LONGEST_PAUSE), times=st.integers(1, 20), is_patient=st.booleans())
    def be_told_to_slow_down(self, retry_after: float | None, times: int, *, is_patient: bool) -> None:
        before = self.pace.rate
        for _ in range(times):
            self.pace.slow_down(self.now, retry_after, asked_at=self.now)
            self.quiet_until = max(self.quiet_until, self.now + (5.0 if retry_after is None else retry_after))
            self.now = max(self.now, self.pace.paused_until()) if is_patient else self.now
        assert self.pace.rate <= before

    @rule(answers=st.integers(1, 25))
    def get_good_answers(self, answers: int) -> None:
        before = self.pace.rate
        for _ in range(answers):
            self.pace.recover()
        assert self.pace.rate >= before
        assert answers < 20 or self.pace.rate == self.rate, "twenty good answers make everything good again"

    @invariant()
    def the_rate_is_between_the_slowest_and_the_full_one(self) -> None:
        assert min(SLOWEST, self.rate) <= self.pace.rate <= self.rate

    @invariant()
    def no_window_holds_more_than_its_share(self) -> None:
        # Each question but the first of a window has waited for its turn.
        for count, first in enumerate(reversed(self.asked)):
            window = self.asked[-1] - first
            assert count <= window * self.rate * (1 + SLACK) + SLACK

    @invariant()
    def a_question_may_go_again_within_a_known_time(self) -> None:
        assert 0 <= self.pace.ready_at() <= self.now + LONGEST_PAUSE + 1 / min(SLOWEST, self.rate) + SLACK


AskingPlex.TestCase.settings = settings(stateful_step_count=30)
TestPace = AskingPlex.TestCase
