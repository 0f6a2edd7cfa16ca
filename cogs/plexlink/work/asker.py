"""What an attempt does with plex.tv by itself: a PIN is made, asked about, and once approved left to `accounts`.

Each job takes the attempt as it is, makes one call, commits what came of it, and plans the next. A call without an
answer is made again; a token that plex.tv gave is never dropped because the database had a bad moment.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING

from .. import cards, flow
from ..errors import (
    IllegalTransitionError,
    PlexError,
    PlexRefusedError,
    PlexSilentError,
    PlexSlowDownError,
    StaleAttemptError,
    StoreError,
)
from ..models import Approved, Expired, Note, Pending, Pin, Reason, State, Trouble
from .accounts import Accounts
from .agenda import Key, Kind
from .inquiries import Inquiries
from .order import Question
from .shares import Presses, Purpose

if TYPE_CHECKING:
    from ..clock import Clock
    from ..ledger import Ledger
    from ..models import Attempt
    from ..plex import PinStyle, PlexClient
    from ..secret import Secret
    from .agenda import Agenda
    from .hand import Hand
    from .presenter import Presenter

_log = logging.getLogger(__name__)

ASKED_AGAIN_SECONDS = 3.0
"""A call without an answer is made again after so long, later each time."""

LAST_CHANCE_SECONDS = 1.0
"""plex.tv forgets a PIN at its deadline: the last question that can bring a token comes this much earlier."""

_IS_LOOKED_AT_FOR = timedelta(minutes=30)
_LONGEST_SECONDS = 30.0
_LONGEST_LATER_SECONDS = 600.0
"""Between two tries; once nobody looks at the card any more, a silent plex.tv is asked more seldom."""

_MOSTLY_THERE_SECONDS = 10.0
"""By then there mostly is a code. When an attempt without one is to be closed is only then planned and kept in mind."""

REFUSED_FOR_SECONDS = 60.0
"""How long plex.tv must refuse a code, or to make one, to be believed: a gateway says such things as well."""

GONE_TWICE_SECONDS = 4.0
"""A code that plex.tv does not know before its time counts as gone when it says so again, this much later."""

_PURPOSES = {
    flow.Call.CREATE_PIN: Purpose.CREATE,
    flow.Call.ASK: Purpose.POLL,
    flow.Call.READ_ACCOUNT: Purpose.ACCOUNT,
    flow.Call.DECIDE: Purpose.FREE,
}


_NO_PRESSES = Presses()


@dataclass(slots=True)
class _Memory:
    """What this process knows of an attempt besides its row; instants are monotonic, and infinite while unknown.

    `asked_about` is the attempt as it is asked about, so that a question costs no look at its row; `made` is a PIN that
    could not be committed yet; `was_told` that its member has read of plex.tv's silence.
    """

    planned: flow.Call | None = None
    asked_about: Attempt | None = None
    question: Question | None = None
    made: Pin | None = None
    deadline: float = inf
    gone_since: float = inf
    refused_since: float = inf
    presses: Presses = _NO_PRESSES
    is_pressed: bool = False
    was_told: bool = False


class Asker:
    """Take attempts through their calls to plex.tv."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        plex: PlexClient,
        agenda: Agenda,
        presenter: Presenter,
        clock: Clock,
        pin_style: PinStyle,
        hand: Hand,
    ) -> None:
        self._ledger = ledger
        self._plex = plex
        self._agenda = agenda
        self._presenter = presenter
        self._clock = clock
        self._pin_style = pin_style
        self._memories: dict[str, _Memory] = {}
        self._in_hand = hand.of_attempts
        self._inquiries = Inquiries(plex=plex, came_late=self._came_late)
        self._accounts = Accounts(ledger=ledger, plex=plex, agenda=agenda, clock=clock)

    def hear(self, attempt: Attempt) -> None:
        """Plan an attempt's next call, unless that is planned or being made; ask no more about one that has ended."""
        if flow.is_over(attempt):
            if attempt.id not in self._in_hand:  # a token in hand is still to be disowned
                self._forget(attempt.id)
            return
        call, memory = flow.next_call(attempt), self._memories.setdefault(attempt.id, _Memory())
        if memory.planned is call and self._agenda.is_planned(Key(Kind.ATTEMPT, attempt.id)):
            if memory.asked_about is not None and memory.asked_about != attempt:
                memory.asked_about = attempt
            return
        memory.planned, memory.asked_about = call, None
        if call is flow.Call.ASK and memory.deadline < inf:  # this process made the code
            now, known = self._clock.monotonic(), memory.question
            self._plan_question(attempt, known.shown_at if known else now, now)
        else:
            purpose = Purpose.FREE if call is None else _PURPOSES[call]
            last_chance = self._last_chance_seconds(attempt) if call is flow.Call.ASK else inf
            self._agenda.put(Key(Kind.ATTEMPT, attempt.id), purpose, last_chance_seconds=last_chance)
        if call is flow.Call.CREATE_PIN:
            in_seconds = min(_MOSTLY_THERE_SECONDS, self._closes_in_seconds(attempt))
            self._agenda.put(Key(Kind.CLOSING, attempt.id), Purpose.FREE, in_seconds)
        else:
            self._agenda.drop(Key(Kind.CLOSING, attempt.id))

    def press(self, attempt: Attempt) -> None:
        """Ask about an attempt ahead of all others, and tell its member what plex.tv said.

        Who presses again and again is not heard each time: others wait too.
        """
        now, memory = self._clock.monotonic(), self._memories.setdefault(attempt.id, _Memory())
        memory.is_pressed = True
        if self._agenda.pace.paused_until() > now:
            self._presenter.note(attempt, Note.SLOWED)
        key, last_chance = Key(Kind.ATTEMPT, attempt.id), self._last_chance_seconds(attempt)
        self._agenda.put_in_line(key, Purpose.PRESSED, memory.presses.next_at - now, last_chance_seconds=last_chance)
        self._inquiries.hurry(attempt.id)

    def _last_chance_seconds(self, attempt: Attempt) -> float:
        """Return how long a question can wait; of an earlier process's code, as far as its row tells."""
        return self._left_seconds(attempt) - LAST_CHANCE_SECONDS

    def _left_seconds(self, attempt: Attempt) -> float:
        deadline = self._memory_of(attempt.id).deadline
        if deadline < inf:
            return deadline - self._clock.monotonic()
        return flow.left(attempt, self._clock.now()).total_seconds()

    async def stop(self) -> None:
        """Wait a moment for late answers; the tokens that come with them are in the hand, which outlives the work."""
        await self._inquiries.stop()

    async def close(self, attempt_id: str) -> None:
        """Let an attempt that has waited for its code for too long be ended now; that takes no request."""
        attempt = await self._ledger.get(attempt_id)
        if attempt is not None and flow.next_call(attempt) is flow.Call.CREATE_PIN:
            left = self._closes_in_seconds(attempt)
            key = Key(Kind.ATTEMPT, attempt_id) if left <= 0 else Key(Kind.CLOSING, attempt_id)
            self._agenda.put(key, Purpose.FREE, left)

    def _closes_in_seconds(self, attempt: Attempt) -> float:
        return (attempt.requested_at + cards.ANSWER_CLOSES - self._clock.now()).total_seconds()

    async def step(self, attempt_id: str) -> None:
        """Make the attempt's next call."""
        attempt = self._memory_of(attempt_id).asked_about or await self._ledger.get(attempt_id)
        if attempt is None or attempt.state is not State.PENDING:
            await self._disown(attempt_id)
        if attempt is None or flow.is_over(attempt):
            self._forget(attempt_id)
            if attempt is not None:
                self._presenter.wake(attempt)  # nobody was told, where a commit came through though it seemed to fail
            return
        memory = self._memories.setdefault(attempt_id, _Memory())
        was_pressed = memory.is_pressed
        memory.planned, memory.is_pressed = flow.next_call(attempt), False
        try:
            await self._call_or_explain(attempt, was_pressed=was_pressed)
        except (StaleAttemptError, IllegalTransitionError) as error:
            _log.info("link.moved_on attempt=%s: %s", attempt_id, error)
            await self._look_again(attempt_id)
        except StoreError:
            self._memory_of(attempt_id).asked_about = None  # nobody knows what was committed: the row will tell
            raise

    async def _look_again(self, attempt_id: str) -> None:
        """Go on from where an attempt is by now."""
        newest = await self._ledger.get(attempt_id)
        self._memory_of(attempt_id).planned = None
        if newest is None:
            self._forget(attempt_id)
        else:
            self.hear(newest)
            self._presenter.hear(newest)

    async def _call_or_explain(self, attempt: Attempt, *, was_pressed: bool) -> None:
        try:
            await self._call(attempt, was_pressed=was_pressed)
        except PlexError as error:
            await self._failed(attempt, error, was_pressed=was_pressed)

    async def _call(self, attempt: Attempt, *, was_pressed: bool) -> None:
        match flow.next_call(attempt):
            case flow.Call.CREATE_PIN:
                await self._create_pin(attempt)
            case flow.Call.ASK:
                await self._ask(attempt, was_pressed=was_pressed)
            case flow.Call.READ_ACCOUNT:
                await self._accounts.read(attempt)
            case flow.Call.DECIDE:
                await self._accounts.leave(attempt)
            case _:
                await self._cannot_read(attempt)

    async def _create_pin(self, attempt: Attempt) -> None:
        if self._closes_in_seconds(attempt) <= 0:
            await self._advance(attempt, flow.Failed(Reason.PLEX_SILENT))
            return
        memory = self._memory_of(attempt.id)
        pin = memory.made or await self._plex.create_pin(
            _known(attempt.client_identifier), device_name=attempt.device_name, style=self._pin_style
        )
        is_new = memory.made is None
        if is_new:
            memory.made, memory.refused_since = pin, inf
            memory.deadline = self._clock.monotonic() + pin.expires_in.total_seconds()
        left = timedelta(seconds=memory.deadline - self._clock.monotonic())
        await self._commit(attempt, flow.PinCreated(pin.id, pin.code, self._clock.now() + left), tells=is_new)
        memory.made = None

    async def _ask(self, attempt: Attempt, *, was_pressed: bool) -> None:
        if attempt.id in self._in_hand:
            await self._keep(attempt, tells=was_pressed)
            return
        asked, memory = self._clock.monotonic(), self._memory_of(attempt.id)
        if was_pressed:
            memory.presses = memory.presses.after(asked)
        answer = await self._inquiries.ask(attempt)
        memory = self._memory_of(attempt.id)  # it may have ended meanwhile
        memory.refused_since = inf
        self._agenda.succeeded(Key(Kind.ATTEMPT, attempt.id))
        if attempt.id in self._in_hand:  # an earlier question was answered meanwhile
            await self._keep(attempt, tells=True)
            return
        match answer:
            case Approved(token):
                self._in_hand[attempt.id] = (attempt, token)
                if memory.question is not None:
                    self._agenda.learn(memory.question, approved_by=asked)
                    self._presenter.approved(attempt, after=memory.question.asked_at)
                await self._keep(attempt, tells=True)
            case Expired():
                await self._seems_gone(attempt, asked, was_pressed=was_pressed)
            case Pending(expires_in):
                memory.gone_since = inf
                await self._still_pending(attempt, asked, expires_in, was_pressed=was_pressed)

    def _came_late(self, attempt: Attempt, token: Secret) -> None:
        """Keep a token for which nobody waited any more; the attempt's next step commits or disowns it."""
        self._in_hand.setdefault(attempt.id, (attempt, token))
        self._agenda.put(Key(Kind.ATTEMPT, attempt.id), Purpose.FREE)

    async def _seems_gone(self, attempt: Attempt, asked: float, *, was_pressed: bool) -> None:
        """End a code that has run out; before its time, only when plex.tv has said twice that it does not know it."""
        memory, by_row = self._memory_of(attempt.id), asked + flow.left(attempt, self._clock.now()).total_seconds()
        since = memory.gone_since = min(memory.gone_since, asked)
        deadline = memory.deadline if memory.deadline < inf else by_row
        is_over = asked >= deadline - LAST_CHANCE_SECONDS or asked - since >= GONE_TWICE_SECONDS
        if is_over and not self._inquiries.is_asking(attempt.id):  # a question that was put in time may bring a token
            await self._advance(attempt, flow.RanOut())
            return
        if was_pressed:
            memory.is_pressed = True  # the next answer is for them
        key, left = Key(Kind.ATTEMPT, attempt.id), since + GONE_TWICE_SECONDS - asked
        self._agenda.put(key, Purpose.POLL, max(ASKED_AGAIN_SECONDS, left))

    async def _keep(self, attempt: Attempt, *, tells: bool) -> None:
        """Commit a token before anything else is done with it; sign it out if nobody wants it any more.

        Where a commit came through though nobody said so, the row holds this very token, and keeps it.
        """
        _, token = self._in_hand[attempt.id]
        try:
            await self._commit(attempt, flow.Granted(token), tells=tells)
        except (StaleAttemptError, IllegalTransitionError):
            await self._disown(attempt.id)
            raise
        self._in_hand.pop(attempt.id, None)

    async def _disown(self, attempt_id: str) -> None:
        """Queue the token of an attempt that ended while its token was on the way."""
        if attempt_id in self._in_hand:
            await self._ledger.disown(*self._in_hand[attempt_id])
            del self._in_hand[attempt_id]

    async def _still_pending(
        self, attempt: Attempt, asked: float, expires_in: timedelta | None, *, was_pressed: bool
    ) -> None:
        if attempt.id not in self._memories:
            return  # it ended while plex.tv was asked
        if asked >= self._deadline(attempt, asked, expires_in):
            await self._advance(attempt, flow.RanOut())
            return
        memory = self._memory_of(attempt.id)
        is_first, known = memory.asked_about is None, memory.question
        pressed_at = asked if was_pressed else known.pressed_at if known else -inf
        self._plan_question(attempt, self._shown_at(attempt, asked), asked, pressed_at)
        if was_pressed:
            self._presenter.note(attempt, Note.NOT_YET)
        elif is_first:
            self._presenter.wake(attempt)

    def _deadline(self, attempt: Attempt, asked: float, expires_in: timedelta | None) -> float:
        """Return the monotonic deadline; after a restart, plex.tv's first answer sets it."""
        memory = self._memory_of(attempt.id)
        if memory.deadline == inf:
            if attempt.deadline_at is not None and expires_in is not None:
                self._clock.suppose(attempt.deadline_at - expires_in)
            left = expires_in if expires_in is not None else flow.left(attempt, self._clock.now())
            memory.deadline = asked + left.total_seconds()
        return memory.deadline

    def _shown_at(self, attempt: Attempt, asked: float) -> float:
        """Return the monotonic instant at which a code was there; of an earlier process's, when it was asked for."""
        known = self._memory_of(attempt.id).question
        if known is not None:
            return known.shown_at
        return asked - max(0.0, (self._clock.now() - attempt.requested_at).total_seconds())

    def _plan_question(self, attempt: Attempt, shown_at: float, asked_at: float, pressed_at: float = -inf) -> None:
        """Plan the next question: when it is worth a request, just before the deadline, and right at it."""
        key, memory = Key(Kind.ATTEMPT, attempt.id), self._memory_of(attempt.id)
        question = Question(shown_at, asked_at, memory.deadline - LAST_CHANCE_SECONDS, pressed_at)
        memory.question, memory.asked_about = question, attempt
        if asked_at < question.last_at:
            self._agenda.put_question(key, question)
        else:
            self._agenda.put_sooner(key, Purpose.POLL, memory.deadline - self._clock.monotonic())

    async def _cannot_read(self, attempt: Attempt) -> None:
        """End an attempt whose secrets are broken; leave one whose key is missing to the operator."""
        if attempt.trouble is Trouble.UNAVAILABLE and not flow.is_lost(attempt, self._clock.now()):
            _log.error("link.key_missing attempt=%s: the key of its secrets is not in the ring", attempt.id)
            return
        _log.error("link.unreadable attempt=%s: its secrets do not open", attempt.id)
        is_approved = attempt.state is State.APPROVED
        await self._advance(attempt, (flow.Rejected if is_approved else flow.Failed)(Reason.UNREADABLE))

    async def _failed(self, attempt: Attempt, error: PlexError, *, was_pressed: bool) -> None:
        _log.info("plex.no_answer attempt=%s: %s", attempt.id, error)
        call = flow.next_call(attempt)
        if not isinstance(error, PlexRefusedError):
            self._memory_of(attempt.id).refused_since = inf
        if call is flow.Call.ASK and attempt.id in self._in_hand:
            await self._keep(attempt, tells=True)
        elif isinstance(error, PlexRefusedError) and call is not flow.Call.READ_ACCOUNT and self._is_refused(attempt):
            await self._advance(attempt, flow.Failed(Reason.PLEX_REFUSED))
        elif call is flow.Call.ASK and self._is_hopeless(attempt):
            await self._advance(attempt, flow.RanOut())
        else:
            self._try_again(attempt, error)
            self._tell_of_silence(attempt, error, was_pressed=was_pressed)

    def _is_refused(self, attempt: Attempt) -> bool:
        """Tell whether plex.tv has refused for so long that it means it."""
        now, memory = self._clock.monotonic(), self._memory_of(attempt.id)
        memory.refused_since = min(memory.refused_since, now)
        return now - memory.refused_since >= REFUSED_FOR_SECONDS

    def _is_hopeless(self, attempt: Attempt) -> bool:
        return flow.left(attempt, self._clock.now()) <= -flow.GRACE

    def _try_again(self, attempt: Attempt, error: PlexError) -> None:
        key = Key(Kind.ATTEMPT, attempt.id)
        call = flow.next_call(attempt) or flow.Call.ASK
        # Somebody who waits for a code has waited long enough already.
        is_hang = call is flow.Call.CREATE_PIN and isinstance(error, PlexSilentError)
        is_at_once = is_hang and self._agenda.failures(key) == 0
        now = self._clock.monotonic()
        # Whoever brought on a pause does not go first after it: plex.tv may slow down one call and answer the others.
        pause = max(0.0, self._agenda.pace.paused_until() - now)
        left = self._left_seconds(attempt) if call is flow.Call.ASK else 0.0
        is_looked_at = self._clock.now() < attempt.requested_at + _IS_LOOKED_AT_FOR
        self._agenda.retry(
            key,
            _PURPOSES[call],
            first_seconds=0.0 if is_at_once else ASKED_AGAIN_SECONDS,
            longest_seconds=_LONGEST_SECONDS if is_looked_at else _LONGEST_LATER_SECONDS,
            not_before_seconds=pause,
            last_chance_seconds=left - LAST_CHANCE_SECONDS,
        )
        if 0 < left <= LAST_CHANCE_SECONDS:
            # The question right at the deadline counts most: no back-off sleeps through it.
            self._agenda.put_sooner(key, _PURPOSES[call], left)

    def _tell_of_silence(self, attempt: Attempt, error: PlexError, *, was_pressed: bool) -> None:
        """Tell a member who pressed or still waits for a code, the latter once; others see it by their card."""
        memory = self._memory_of(attempt.id)
        waits_for_code = attempt.state is State.REQUESTED and not memory.was_told
        if was_pressed or waits_for_code:
            memory.was_told = True
            is_paced = isinstance(error, PlexSlowDownError)
            self._presenter.note(attempt, Note.SLOWED if is_paced else Note.PLEX_SILENT)
        else:
            self._presenter.wake(attempt)

    async def _commit(self, attempt: Attempt, event: flow.Event, *, tells: bool) -> None:
        """Commit what plex.tv gave us; where that fails it stays in memory, and its member may be told."""
        try:
            await self._advance(attempt, event)
        except StoreError:
            if tells:
                self._presenter.note(attempt, Note.UNSAVED)
            raise

    async def _advance(self, attempt: Attempt, event: flow.Event) -> None:
        question = self._memory_of(attempt.id).question
        await self._ledger.advance(attempt, event)
        self._agenda.succeeded(Key(Kind.ATTEMPT, attempt.id))
        if question is not None and isinstance(event, flow.RanOut):
            self._agenda.learn(question, approved_by=None)

    def _memory_of(self, attempt_id: str) -> _Memory:
        """Return what is known of an attempt: nothing of one that has ended, and what is noted there is lost."""
        return self._memories.get(attempt_id) or _Memory()

    def _forget(self, attempt_id: str) -> None:
        self._agenda.drop(Key(Kind.ATTEMPT, attempt_id))
        self._agenda.drop(Key(Kind.CLOSING, attempt_id))
        self._memories.pop(attempt_id, None)
        self._accounts.forget(attempt_id)


def _known(secret: Secret | None) -> Secret:
    if secret is None:
        raise StaleAttemptError("the attempt holds no such secret in its state")
    return secret
