"""What members see is brought up to date: whenever an attempt and its card differ, the card is drawn again."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING

from .. import cards, flow
from ..errors import DiscordRefusedError, NotifyError, StoreError, StoreUnavailableError
from ..ledger import Drawable
from ..models import AttemptCard, Card, Lane, Note, Place, Pointer, Showing
from ..observations import ApprovalShown, CardDrawn, Drawing, unobserved
from .agenda import Key, Kind
from .shares import Purpose

if TYPE_CHECKING:
    from datetime import datetime

    from ..clock import Clock
    from ..ledger import Ledger
    from ..models import Answer, Attempt
    from ..observations import Observe
    from .agenda import Agenda
    from .showing import Notifier, Turns

_log = logging.getLogger(__name__)

HELD_BACK_SECONDS = 2.0
"""How long a card is held back that the next one mostly overtakes: in line, approved."""

_LATE_SECONDS = 30.0
"""How long after a card went into an answer its direct message may still come: Discord was slow to store it."""

_LATE_AGAIN_SECONDS = 120.0
"""And how long after a look that Discord did not let us take, the next one is."""

_MOST_TRIES = 10


_STAYS_IN_ANSWER = {Card.QUEUED, Card.FAILED, Card.CANCELLED}
"""Cards that are no reason to open a conversation with a member who has not got a message yet."""

_WORTH_A_MESSAGE = {Card.WAITING, Card.LINKED, Card.REFUSED}
"""Cards that are sent anew where the old message is gone."""


@dataclass(frozen=True, slots=True)
class _GivenUp:
    """A card that Discord did not take, and whether it said no itself."""

    card: Card
    is_refused: bool


class Presenter:
    """Keep cards true."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        agenda: Agenda,
        notifier: Notifier,
        turns: Turns,
        clock: Clock,
        observe: Observe = unobserved,
    ) -> None:
        self._ledger = ledger
        self._agenda = agenda
        self._notifier = notifier
        self._turns = turns
        self._clock = clock
        self._observe = observe
        self._began = clock.now()
        self._notes: dict[str, tuple[Note, Attempt]] = {}
        self._drawing: set[str] = set()
        self._heard_meanwhile: set[str] = set()
        self._drawn: dict[str, tuple[Attempt, Card, Place]] = {}
        self._may_come_late: dict[str, Attempt] = {}
        self._given_up: dict[str, _GivenUp] = {}
        self._looked_after_at: dict[str, float] = {}
        self._approved_after: dict[str, float] = {}

    def hear(self, attempt: Attempt) -> None:
        """Plan to draw a card of which something has changed; while it is drawn, that is looked at in the end.

        No back-off holds it up: the last try may have failed for what has changed, and mostly its member was here.
        """
        self._given_up.pop(attempt.id, None)
        if attempt.id in self._drawing:
            self._heard_meanwhile.add(attempt.id)
        else:
            self._agenda.succeeded(Key(Kind.CARD, attempt.id))
            self._plan(attempt)

    def find(self, attempt: Attempt) -> None:
        """Plan to draw a card that may be behind; one that Discord did not take waits for its next try.

        One that was given up is tried once more, unless Discord itself said no. A code that is over by the clock is
        first asked about, then shown as what it is.
        """
        given_up = self._given_up.get(attempt.id)
        if given_up is not None and given_up.is_refused and given_up.card is self._card_for(attempt):
            return
        if attempt.place.lane is Lane.ANSWER and attempt.requested_at < self._began:
            self._looked_after_at.setdefault(attempt.id, self._clock.monotonic())
        is_overdue = attempt.deadline_at is not None and self._clock.now() >= attempt.deadline_at
        if not (is_overdue and flow.next_call(attempt) is flow.Call.ASK):
            self._plan_at_leisure(attempt)

    def wake(self, attempt: Attempt) -> None:
        """Plan to draw a card that may be behind, unless Discord did not take it so often that it was given up."""
        given_up = self._given_up.get(attempt.id)
        if given_up is None or given_up.card is not self._card_for(attempt):
            self._plan_at_leisure(attempt)

    def _card_for(self, attempt: Attempt) -> Card:
        return cards.card_for(attempt, self._clock.now())

    def _plan_at_leisure(self, attempt: Attempt) -> None:
        """Plan to draw a card; one that Discord did not take waits for its next try."""
        key = Key(Kind.CARD, attempt.id)
        is_backing_off = self._agenda.failures(key) > 0 and self._agenda.is_planned(key)
        if not (is_backing_off or attempt.id in self._drawing):
            self._plan(attempt)

    def _plan(self, attempt: Attempt) -> None:
        """Plan to draw the card now if it is behind, or when it will be though nothing happens."""
        key, now = Key(Kind.CARD, attempt.id), self._clock.now()
        if cards.needs_showing(attempt, now):
            is_held_back = cards.card_for(attempt, now) in {Card.QUEUED, Card.APPROVED}
            self._agenda.put(key, Purpose.FREE, HELD_BACK_SECONDS if is_held_back else 0.0)
        elif (changes_at := cards.changes_at(attempt, now)) is not None:
            self._agenda.put_sooner(key, Purpose.FREE, (changes_at - now).total_seconds())
        if attempt.place.lane is Lane.ANSWER and attempt.id in self._looked_after_at:
            self._agenda.put_sooner(key, Purpose.FREE, self._looked_after_at[attempt.id] - self._clock.monotonic())

    def note(self, attempt: Attempt, note: Note) -> None:
        """Draw the card again with a passing line, from `attempt` where its row cannot be read."""
        self._notes[attempt.id] = note, attempt
        self._agenda.put(Key(Kind.CARD, attempt.id), Purpose.FREE)

    def learn(self, pressed: Answer) -> None:
        """Take note of a press on a direct message, through which it can be drawn."""
        self._notifier.hear(pressed)

    def approved(self, attempt: Attempt, *, after: float) -> None:
        """Note after which monotonic instant an attempt was approved: before it, plex.tv was asked in vain."""
        self._approved_after[attempt.id] = after

    async def draw(self, attempt_id: str) -> None:
        """Bring one card up to date; try again later if Discord does not take it.

        Attempts that follow each other share a message: the next one waits for its turn.
        """
        self._drawing.add(attempt_id)
        try:
            await self._draw_in_turn(attempt_id)
        finally:
            self._drawing.discard(attempt_id)
            self._heard_meanwhile.discard(attempt_id)

    async def _draw_in_turn(self, attempt_id: str) -> None:
        drawable = await self._current(attempt_id)
        if drawable is not None:
            turn = self._turns.at(drawable.attempt.place, drawable.attempt.answer, otherwise=attempt_id)
            must_wait = turn.locked()
            async with turn:
                if must_wait:  # whoever had the message until now may have left something else to be drawn
                    drawable = await self._current(attempt_id)
                if drawable is not None:
                    await self._draw(drawable)
        if drawable is None:
            self._forget(attempt_id)

    def _forget(self, attempt_id: str) -> None:
        for memory in (
            self._notes,
            self._drawn,
            self._may_come_late,
            self._given_up,
            self._looked_after_at,
            self._approved_after,
        ):
            memory.pop(attempt_id, None)

    async def _current(self, attempt_id: str) -> Drawable | None:
        """Return what is to be drawn; that nothing can be read or saved must be told all the same."""
        try:
            return await self._ledger.drawable(attempt_id)
        except StoreUnavailableError:
            if attempt_id not in self._notes:
                raise
            return Drawable(attempt=self._notes[attempt_id][1])

    async def _draw(self, drawable: Drawable) -> None:
        attempt = drawable.attempt
        key = Key(Kind.CARD, attempt.id)
        try:
            shown = await self._show(drawable)
        except NotifyError as error:
            self._may_come_late[attempt.id] = attempt
            self._failed(key, attempt, error)
        else:
            self._may_come_late.pop(attempt.id, None)
            self._given_up.pop(attempt.id, None)
            self._agenda.succeeded(key)
            # What was looked at before Discord was asked may be outdated.
            newest = await self._ledger.get(attempt.id) if attempt.id in self._heard_meanwhile else shown
            if newest is not None and cards.has_left(newest):
                self._forget(newest.id)
            elif newest is not None:
                self._plan(newest)

    async def _show(self, drawable: Drawable) -> Attempt:
        attempt = drawable.attempt
        if cards.has_left(attempt) and (over := self._perhaps_drawn(attempt)) is not None:
            outdated = await self._ledger.shown(*over)
            self._drawn.pop(attempt.id, None)
            return outdated
        await self._draw_what_differs(drawable)
        if attempt.id in self._drawn:
            # Where this fails, the card is out all the same: the next try commits it and does not send it again.
            drawn, card, place = self._drawn[attempt.id]
            attempt = await self._ledger.shown(drawn, card, place)
            self._drawn.pop(attempt.id, None)
            if drawn.place.lane is None and place.lane is Lane.ANSWER:
                self._looked_after_at[attempt.id] = self._clock.monotonic() + _LATE_SECONDS
        if attempt.place.lane is Lane.DM and attempt.answer is not None:
            await self._notifier.show(_pointer(attempt, attempt.answer))
            attempt = await self._ledger.answered(attempt, attempt.answer)
        if attempt.place.lane is Lane.ANSWER:
            await self._look_after(attempt)
        return attempt

    def _perhaps_drawn(self, attempt: Attempt) -> tuple[Attempt, Card, Place] | None:
        """Return what was drawn of an attempt, or may have been though it was given up, over what has its card now."""
        late = self._may_come_late.get(attempt.id)
        if attempt.id in self._drawn or late is None:
            return self._drawn.get(attempt.id)
        return late, cards.card_for(attempt, self._clock.now()), late.place

    async def _look_after(self, attempt: Attempt) -> None:
        """See that the direct message did not come after all: it would keep a dead code."""
        is_late = self._clock.monotonic() >= self._looked_after_at.get(attempt.id, inf)
        if is_late or flow.is_over(attempt):
            self._looked_after_at.pop(attempt.id, None)
            try:
                await self._notifier.take_away(attempt.user_id, attempt.id)
            except NotifyError as error:  # the card itself is true
                _log.info("card.not_looked_after attempt=%s: %s", attempt.id, error)
                self._looked_after_at[attempt.id] = self._clock.monotonic() + _LATE_AGAIN_SECONDS

    async def _draw_what_differs(self, drawable: Drawable) -> None:
        attempt = drawable.attempt
        card = cards.card_for(attempt, self._clock.now())
        noted = self._notes.pop(attempt.id, None)
        note = noted[0] if noted and card in {Card.WAITING, Card.QUEUED} else None
        seen = self._as_seen(attempt)
        if card == seen.shown_state and note is None:
            return
        try:
            place = await self._notifier.show(self._showing(replace(drawable, attempt=seen), card, note))
        except (NotifyError, StoreError):
            if noted is not None:
                self._notes.setdefault(attempt.id, noted)
            raise
        self._drawn[attempt.id] = attempt, card, place or seen.place
        self._tell_of_drawing(attempt, card, place)
        if drawable.news and card is Card.WAITING and place is not None and place.lane is Lane.ANSWER:
            with suppress(StoreError):  # told twice at worst
                await self._ledger.heard(drawable.news)

    def _tell_of_drawing(self, attempt: Attempt, card: Card, place: Place | None) -> None:
        self._observe(CardDrawn(_lane(place or attempt.place), Drawing.DRAWN))
        if flow.is_over(attempt):
            since = self._approved_after.pop(attempt.id, None)
            if since is not None and card is Card.LINKED:
                self._observe(ApprovalShown(self._clock.monotonic() - since))

    def _as_seen(self, attempt: Attempt) -> Attempt:
        """Return an attempt with the card that its member sees, committed or not."""
        if attempt.id not in self._drawn:
            return attempt
        _, card, place = self._drawn[attempt.id]
        return replace(attempt, shown_state=card, place=place)

    def _showing(self, drawable: Drawable, card: Card, note: Note | None) -> Showing:
        attempt = drawable.attempt
        return Showing(
            user_id=attempt.user_id,
            content=AttemptCard(
                attempt=attempt,
                card=card,
                account_name=drawable.account_name,
                note=note,
                ready_at=self._ready_at(attempt) if card is Card.QUEUED else None,
                news=drawable.news,
            ),
            place=attempt.place,
            answer=attempt.answer,
            nonce=_nonce(attempt, card),
            prefers_answer=card in _STAYS_IN_ANSWER and attempt.deadline_at is None,
            is_perhaps_out=self._is_perhaps_out(attempt),
            roles=drawable.roles,
            reserved=drawable.reserved,
        )

    def _is_perhaps_out(self, attempt: Attempt) -> bool:
        """Tell whether a message may be out of which we were not told: a try has failed, or another process made it."""
        is_older = attempt.requested_at < self._began
        has_failed = self._agenda.failures(Key(Kind.CARD, attempt.id)) > 0 or attempt.id in self._given_up
        return attempt.place.lane is None and (is_older or has_failed)

    def _ready_at(self, attempt: Attempt) -> datetime:
        wait = self._agenda.expected_wait_seconds(Key(Kind.ATTEMPT, attempt.id))
        return self._clock.now() + timedelta(seconds=wait)

    def _failed(self, key: Key, attempt: Attempt, error: NotifyError) -> None:
        is_refused = isinstance(error, DiscordRefusedError)
        given_up = _GivenUp(self._card_for(attempt), is_refused=is_refused)
        if self._agenda.failures(key) >= _MOST_TRIES:
            _log.error("card.given_up attempt=%s: %s", key.id, error)
            self._observe(CardDrawn(_lane(attempt.place), Drawing.GIVEN_UP))
            self._agenda.succeeded(key)
            self._may_come_late.pop(key.id, None)
            self._given_up[key.id] = given_up
            return
        self._observe(CardDrawn(_lane(attempt.place), Drawing.REFUSED if is_refused else Drawing.FAILED))
        if key.id in self._given_up:
            _log.info("card.failed_again attempt=%s: %s", key.id, error)
            self._given_up[key.id] = given_up
            return
        if key.id in self._heard_meanwhile:
            self._agenda.succeeded(key)
        delay = self._agenda.retry(key, Purpose.FREE, first_seconds=1.0)
        _log.warning("card.failed attempt=%s, trying again in %.0f s: %s", key.id, delay, error)


def _lane(place: Place) -> str:
    return "none" if place.lane is None else str(place.lane)


def _nonce(attempt: Attempt, card: Card) -> str | None:
    """Return the nonce of the message that a card may be sent with, if its member should know.

    The first message has the attempt's id, which finds what an earlier process has sent. One in place of a message
    that is gone has another; the same one for the same loss, so that a repetition does not make two.
    """
    if attempt.place.lane is None:
        # Once there was a code, a message may be out whose place a crash kept from us.
        return None if card is Card.QUEUED and attempt.deadline_at is None else attempt.id
    if card not in _WORTH_A_MESSAGE:
        return None
    lost = attempt.place.message_id or (attempt.answer.message_id if attempt.answer else 0)
    return f"{attempt.id}-{lost % 100:02d}"


def _pointer(attempt: Attempt, answer: Answer) -> Showing:
    return Showing(user_id=attempt.user_id, content=Pointer(attempt.place), place=answer.place, answer=answer)
