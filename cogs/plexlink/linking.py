"""The use cases: what members ask for, decided here, returned as values."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from . import cards, flow
from .errors import ConflictError, IllegalTransitionError, NotifyError, StaleAttemptError, UnknownKeyError
from .links import Status
from .models import Lane, Place, Reason, Trouble

if TYPE_CHECKING:
    from .clock import Clock
    from .ledger import Change, Ledger
    from .links import Links
    from .models import Answer, Attempt
    from .work.asker import Asker
    from .work.presenter import Presenter
    from .work.worker import Worker

_log = logging.getLogger(__name__)

MOST_STARTS = 5
START_WINDOW = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A member's wish for a code, and where the answer goes.

    `place` is the card that the new attempt takes over from the attempt `card_of`, if the wish came from a button.
    """

    user_id: int
    guild_id: int | None
    device_name: str
    answer: Answer | None
    place: Place = field(default_factory=Place)
    card_of: str | None = None
    may_replace_link: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """A press on a card's button: through `answer` where the card is ephemeral, else on the message at `place`."""

    user_id: int
    answer: Answer | None
    place: Place | None


@dataclass(frozen=True, slots=True)
class Begun:
    """The attempt is under way; its card comes by itself."""


@dataclass(frozen=True, slots=True)
class AlreadyOpen:
    """The member has a code out already, on the card at `place`."""

    place: Place


@dataclass(frozen=True, slots=True)
class TooManyStarts:
    """The member asked for too many codes."""

    retry_at: datetime


@dataclass(frozen=True, slots=True)
class TooBusy:
    """Too many members are linking."""

    retry_at: datetime


@dataclass(frozen=True, slots=True)
class NotYours:
    """The card is another member's."""


@dataclass(frozen=True, slots=True)
class Gone:
    """Nothing is known of this card any more."""


@dataclass(frozen=True, slots=True)
class Done:
    """It was done; the card shows it."""


StartOutcome = Begun | AlreadyOpen | Status | TooManyStarts | TooBusy | Gone
PressOutcome = Done | NotYours | Gone


class Linking:
    """Start, ask now, cancel, renew and undo links for members."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        worker: Worker,
        asker: Asker,
        presenter: Presenter,
        links: Links,
        clock: Clock,
        max_pending: int,
    ) -> None:
        self._ledger = ledger
        self._worker = worker
        self._asker = asker
        self._presenter = presenter
        self._links = links
        self._clock = clock
        self._max_pending = max_pending

    def resume(self) -> None:
        """Go on with everything that an earlier process left undone."""
        self._worker.resume()

    def observe(self, stamped_at: datetime) -> None:
        """Learn Discord's time from an interaction that has just arrived."""
        self._clock.observe(stamped_at)

    async def start(self, request: Request) -> StartOutcome:
        """Begin an attempt, or show the open one again; a linked member is told so."""
        try:
            return await self._start(request)
        except ConflictError:
            return await self._start(request)  # another process began one at the same moment: that one is shown

    async def _start(self, request: Request) -> StartOutcome:
        async with self._ledger.change() as change:
            attempt = await change.tx.attempts.open_of(request.user_id)
            if attempt is None:
                obstacle = await self._obstacle(change, request)
                if obstacle is not None:
                    return obstacle
                begun = self._begin(request)
                if request.card_of is None:
                    await change.add(begun)
                else:
                    await change.add_in_place_of(request.card_of, begun)
        if attempt is not None:
            return await self._show_again(attempt, request.answer)
        self._went_on(begun)
        return Begun()

    async def new_code(self, attempt_id: str, request: Request) -> StartOutcome | NotYours:
        """Replace an attempt by a new one on the same card."""
        attempt = await self._ledger.get(attempt_id)
        if attempt is None:
            return await self.start(request)
        if attempt.user_id != request.user_id:
            return NotYours()
        if flow.is_over(attempt):
            return await self.start(replace(request, card_of=attempt.id))
        too_many = await self._replace(attempt, request)
        return too_many or Begun()

    async def check_now(self, attempt_id: str, press: Press) -> PressOutcome:
        """Ask plex.tv about an attempt now; the card tells what it said."""
        attempt = await self._pressed(attempt_id, press)
        if isinstance(attempt, NotYours | Gone):
            return attempt
        if flow.next_call(attempt) is flow.Call.ASK:
            self._asker.press(attempt)
        else:
            self._presenter.show_now(await self._ledger.redraw(attempt))
        return Done()

    async def cancel(self, attempt_id: str, press: Press) -> PressOutcome:
        """End an attempt that has not been approved; one that has moved on is shown as what it is."""
        attempt = await self._pressed(attempt_id, press)
        if isinstance(attempt, NotYours | Gone):
            return attempt
        try:
            attempt = await self._ledger.give_up(attempt)
            self._asker.release(attempt)
            _log.info("link.cancelled attempt=%s user=%s", attempt.id, attempt.user_id)
        except (IllegalTransitionError, StaleAttemptError):
            attempt = await self._ledger.redraw(attempt)
        self._presenter.show_now(attempt)
        await self._links.clean_up()
        return Done()

    async def undo(self, attempt_id: str, press: Press) -> PressOutcome:
        """Erase the link that an attempt led to, and sign it out at Plex; its card tells how that goes."""
        attempt = await self._pressed(attempt_id, press)
        if isinstance(attempt, Gone) and await self._is_undone(attempt_id):
            return Done()
        if isinstance(attempt, NotYours | Gone):
            return attempt
        async with self._ledger.change() as change:
            link = await change.tx.links.from_attempt(attempt.id)
            if link is not None:
                report_id = await self._links.end(
                    change, link, Reason.UNDONE, place=attempt.place, answer=attempt.answer
                )
                await change.part_from_card(attempt.id)
        if link is None:
            self._presenter.show_now(await self._ledger.redraw(attempt))
        else:
            _log.info("link.undone attempt=%s user=%s", attempt.id, attempt.user_id)
            await self._links.carry_on(change, report_id)
        return Done()

    async def _is_undone(self, attempt_id: str) -> bool:
        """Tell whether a second press came before the first one's outcome was drawn."""
        attempt = await self._ledger.get(attempt_id)
        return attempt is not None and attempt.reason is Reason.UNDONE

    async def move_here(self, attempt_id: str, press: Press) -> PressOutcome:
        """Take an approved account over from the member who has linked it."""
        attempt = await self._pressed(attempt_id, press)
        if isinstance(attempt, NotYours | Gone):
            return attempt
        try:
            attempt = await self._ledger.advance(attempt, flow.Claimed())
            self._asker.go_on(attempt)
        except (IllegalTransitionError, StaleAttemptError):
            attempt = await self._ledger.redraw(attempt)
        self._presenter.show_now(attempt)
        return Done()

    async def leave_there(self, attempt_id: str, press: Press) -> PressOutcome:
        """Leave an approved account to the member who has linked it, and sign it out."""
        attempt = await self._pressed(attempt_id, press)
        if isinstance(attempt, NotYours | Gone):
            return attempt
        if flow.is_contested(attempt):
            attempt = await self._ledger.refuse(attempt, Reason.TAKEN)
            self._asker.release(attempt)
        else:
            attempt = await self._ledger.redraw(attempt)
        self._presenter.show_now(attempt)
        await self._links.clean_up()
        return Done()

    async def _pressed(self, attempt_id: str, press: Press) -> Attempt | NotYours | Gone:
        """Return the attempt that a pressed card shows, if it is the member's, and keep what the press tells of it."""
        attempt = await self._ledger.get(attempt_id)
        if attempt is None:
            return Gone()
        if attempt.user_id != press.user_id:
            return NotYours()
        if cards.has_left(attempt):
            # Pressed before the successor was drawn: it is the successor's card that was meant.
            async with self._ledger.change() as change:
                successor = await change.tx.attempts.open_of(press.user_id)
            if successor is None:
                return Gone()
            attempt = successor
        if press.answer is not None and attempt.place.lane is not Lane.DM:
            # An ephemeral card can be edited for 15 minutes more.
            return await self._ledger.renew_answer(attempt, press.answer)
        if press.place is not None and attempt.place.lane is None:
            # The message was sent, but its place was not committed before a crash.
            return await self._ledger.found(attempt, press.place)
        return attempt

    async def _show_again(self, attempt: Attempt, answer: Answer | None) -> Begun | AlreadyOpen:
        """Bring the card to the newest answer, or, where it is a direct message, point to it from there."""
        if attempt.trouble is Trouble.UNAVAILABLE:
            raise UnknownKeyError(f"attempt {attempt.id} needs a key that is not in the ring")
        if answer is None:
            self._presenter.show_now(await self._ledger.redraw(attempt))
            return AlreadyOpen(attempt.place)
        try:
            attempt = await self._presenter.move(attempt, answer)
        except NotifyError as error:
            _log.warning("card.not_moved attempt=%s: %s", attempt.id, error)
            return AlreadyOpen(attempt.place)
        finally:
            self._presenter.show_now(attempt)
        # Where New code or Cancel came between, the attempt took no answer any more: this one would think for ever.
        return Begun() if attempt.answer == answer else AlreadyOpen(attempt.place)

    async def _obstacle(self, change: Change, request: Request) -> StartOutcome | None:
        former = None if request.card_of is None else await change.newest(request.card_of)
        if former is not None and cards.has_left(former) and request.place.lane is Lane.DM:
            # Pressed before the successor was drawn: the card is the successor's, which has ended since.
            return Gone()
        link = await change.tx.links.of(request.user_id)
        if link is not None and not request.may_replace_link and link.trouble is not Trouble.BROKEN:
            if link.trouble is Trouble.UNAVAILABLE:
                raise UnknownKeyError(f"link {link.id} needs a key that is not in the ring")
            if not link.is_dead:
                return Status(link=link, last_use=await change.tx.audit.last_use(link.user_id, since=link.linked_at))
        if await change.tx.attempts.open_count() >= self._max_pending:
            now = self._clock.now()
            return TooBusy(await change.tx.attempts.first_deadline(now) or now + cards.ANSWER_CLOSES)
        return await self._too_many(change, request.user_id)

    async def _too_many(self, change: Change, user_id: int) -> TooManyStarts | None:
        starts = await change.tx.attempts.requested_since(user_id, self._clock.now() - START_WINDOW)
        return TooManyStarts(starts[-MOST_STARTS] + START_WINDOW) if len(starts) >= MOST_STARTS else None

    async def _replace(self, attempt: Attempt, request: Request) -> TooManyStarts | None:
        successor = self._begin(_where_the_card_is(attempt, request))
        try:
            async with self._ledger.change() as change:
                too_many = await self._too_many(change, request.user_id)
                if too_many is not None:
                    return too_many
                await change.hand_over(attempt, successor)
        except (IllegalTransitionError, StaleAttemptError):
            # It was approved, or ended, while the member pressed: show that instead.
            self._presenter.show_now(await self._ledger.redraw(attempt))
            return None
        self._asker.release(attempt)
        self._went_on(successor)
        await self._links.clean_up()
        return None

    def _begin(self, request: Request) -> Attempt:
        return flow.begin(
            user_id=request.user_id,
            guild_id=request.guild_id,
            device_name=request.device_name,
            place=request.place,
            answer=request.answer,
            now=self._clock.now(),
        )

    def _went_on(self, attempt: Attempt) -> None:
        _log.info("link.requested attempt=%s user=%s", attempt.id, attempt.user_id)
        self._asker.wake(attempt)
        self._presenter.show_now(attempt)


def _where_the_card_is(attempt: Attempt, request: Request) -> Request:
    """Return the wish with the answer that has the card by now; it may have moved since its button was pressed."""
    older, newer = attempt.answer, request.answer
    has_moved = older is not None and newer is not None and older.message_id != newer.message_id
    return replace(request, answer=older) if has_moved else request
