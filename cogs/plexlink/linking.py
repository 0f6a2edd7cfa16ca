"""The use cases of an attempt: what members ask for while they link. Each decides and commits, and is done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from . import cards, flow, whereabouts
from .errors import ConflictError, IllegalTransitionError, StaleAttemptError, UnknownKeyError
from .events import CardPressed, Pressed
from .links import Done, Status
from .models import Lane, Origin, Place, Reason, State, Trouble

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .change import Change
    from .clock import Clock
    from .ledger import Ledger
    from .models import Attempt, Wish

_T = TypeVar("_T")

MOST_STARTS = 5
START_WINDOW = timedelta(minutes=10)

CODE_LIVES = timedelta(minutes=15)
"""How long plex.tv keeps a code, as far as is known when only its end is."""

MOST_RENEWALS = 2
RENEWAL_WINDOW = timedelta(hours=1)
"""Who has asked for another code so often in so long, and asks once more, leaves the last place to others."""

SHARE_OF_A_SERVER = 0.75
"""Of all places, where other servers use the bot too."""


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


StartOutcome = Begun | AlreadyOpen | Status | TooManyStarts | TooBusy | Gone
PressOutcome = Done | NotYours | Gone


class Linking:
    """Start, ask now, cancel, renew and undo links for members."""

    def __init__(self, *, ledger: Ledger, clock: Clock, max_pending: int) -> None:
        self._ledger = ledger
        self._clock = clock
        self._max_pending = max_pending

    async def start(self, wish: Wish) -> StartOutcome:
        """Begin an attempt, or show the open one again; a linked member is told so."""
        return await self._begin_or_find(lambda change: self._start(change, wish))

    async def new_code(self, attempt_id: str, wish: Wish) -> StartOutcome | NotYours:
        """Replace an attempt by a new one on the same card."""
        return await self._begin_or_find(lambda change: self._new_code(change, attempt_id, wish))

    async def check_now(self, attempt_id: str, wish: Wish) -> PressOutcome:
        """Ask plex.tv about an attempt now; the card tells what it said."""
        return await self._press(attempt_id, wish, self._check_now)

    async def cancel(self, attempt_id: str, wish: Wish) -> PressOutcome:
        """End an attempt, and sign it out if it was approved; one that has ended is shown as what it is."""
        return await self._press(attempt_id, wish, self._cancel)

    async def undo(self, attempt_id: str, wish: Wish) -> PressOutcome:
        """Erase the link that an attempt led to, and sign it out at Plex; its card tells how that goes."""
        return await self._press(attempt_id, wish, self._undo)

    async def move_here(self, attempt_id: str, wish: Wish) -> PressOutcome:
        """Take an approved account over from the member who has linked it."""
        return await self._press(attempt_id, wish, self._move_here)

    async def leave_there(self, attempt_id: str, wish: Wish) -> PressOutcome:
        """Leave an approved account to the member who has linked it, and sign it out."""
        return await self._press(attempt_id, wish, self._leave_there)

    async def seemed_to_fail(self, wish: Wish) -> None:
        """Let a card be drawn over what its member was told: a wish whose commit nobody heard of may have been kept.

        Raises:
            StoreError: it cannot be told yet.

        """
        async with self._ledger.change() as change:
            await whereabouts.outdate(change, wish.answer.message_id, through=wish.answer)

    async def _begin_or_find(self, decide: Callable[[Change], Awaitable[_T]]) -> _T:
        try:
            async with self._ledger.change() as change:
                return await decide(change)
        except ConflictError:  # another process began one at the same moment: that one is found now
            async with self._ledger.change() as change:
                return await decide(change)

    async def _start(self, change: Change, wish: Wish, *, card_of: Attempt | None = None) -> StartOutcome:
        attempt = await change.tx.attempts.open_of(wish.user_id)
        if attempt is not None:
            return await self._show_again(change, attempt, wish)
        obstacle = await self._obstacle(change, wish, card_of)
        if obstacle is not None:
            return obstacle
        begun = self._begin(wish)
        if card_of is None:
            await whereabouts.begin(change, begun)
        else:
            await whereabouts.begin_in_place_of(change, card_of.id, begun)
        return Begun()

    async def _show_again(self, change: Change, attempt: Attempt, wish: Wish) -> Begun | AlreadyOpen:
        """Bring the card to the newest answer, or, where it is a direct message, point to it from there."""
        if attempt.trouble is Trouble.UNAVAILABLE:
            raise UnknownKeyError(f"attempt {attempt.id} needs a key that is not in the ring")
        if wish.owed is None:
            await change.redraw(attempt)
            return AlreadyOpen(attempt.place)
        await whereabouts.bring(change, attempt, wish.owed)
        return Begun()

    async def _new_code(self, change: Change, attempt_id: str, wish: Wish) -> StartOutcome | NotYours:
        attempt = await change.newest(attempt_id)
        if attempt is None or not wish.origin.is_card:
            return await self._start(change, wish)
        if attempt.user_id != wish.user_id:
            return NotYours()
        _tell_of_press(change, wish)
        if flow.is_over(attempt):
            return await self._start(change, wish, card_of=attempt)
        return await self._replace(change, attempt, wish)

    async def _replace(self, change: Change, attempt: Attempt, wish: Wish) -> StartOutcome:
        if attempt.state is State.APPROVED:  # while the member pressed: show that instead
            await change.redraw(attempt)
            return Begun()
        starts = await self._starts(change, wish.user_id)
        too_many = await self._too_many(change, wish.user_id, starts)
        if too_many is not None:
            return too_many
        if len(starts) > MOST_RENEWALS and await self._is_full(change):
            await change.move(attempt, flow.Cancelled())
            return await self._too_busy(change)
        await whereabouts.hand_over(change, attempt, self._begin(wish))
        return Begun()

    async def _press(
        self, attempt_id: str, wish: Wish, do: Callable[[Change, Attempt, Wish], Awaitable[object]]
    ) -> PressOutcome:
        """Do something to the attempt that a pressed card shows, if it is the member's."""
        async with self._ledger.change() as change:
            attempt = await change.newest(attempt_id)
            if attempt is None or not wish.origin.is_card:
                return Gone()
            if attempt.user_id != wish.user_id:
                return NotYours()
            _tell_of_press(change, wish)
            if cards.has_left(attempt):
                # Pressed before what has taken the card over was drawn: if that is an attempt, it was the one meant.
                successor = await change.tx.attempts.open_of(wish.user_id)
                if successor is None:
                    return Done() if attempt.reason is Reason.UNDONE else Gone()
                attempt = successor
            attempt = await whereabouts.learn_from_press(change, attempt, wish)
            try:
                await do(change, attempt, wish)
            except (IllegalTransitionError, StaleAttemptError):
                await change.redraw(attempt)
        return Done()

    async def _check_now(self, change: Change, attempt: Attempt, _: Wish) -> None:
        if flow.next_call(attempt) is flow.Call.ASK:
            change.tell(Pressed(attempt))
        else:
            await change.redraw(attempt)

    async def _cancel(self, change: Change, attempt: Attempt, _: Wish) -> None:
        await change.move(attempt, flow.Cancelled())

    async def _undo(self, change: Change, attempt: Attempt, wish: Wish) -> None:
        link = await change.tx.links.from_attempt(attempt)
        if link is None:
            await change.redraw(attempt)
            return
        # A card that was drawn just now may not be known to be there yet: then it is where it was pressed.
        place = attempt.place if attempt.place.lane else wish.card
        await whereabouts.end_link(change, link, Reason.UNDONE, place=place, answer=attempt.answer or wish.owed)
        await whereabouts.part_from_card(change, attempt.id)

    async def _move_here(self, change: Change, attempt: Attempt, _: Wish) -> None:
        await change.move(attempt, flow.Claimed())

    async def _leave_there(self, change: Change, attempt: Attempt, _: Wish) -> None:
        if flow.is_contested(attempt):
            await change.move(attempt, flow.Rejected(Reason.TAKEN))
        else:
            await change.redraw(attempt)

    async def _obstacle(self, change: Change, wish: Wish, card_of: Attempt | None) -> StartOutcome | None:
        if card_of is not None and cards.has_left(card_of) and wish.place.lane is Lane.DM:
            # Pressed before the successor was drawn: the card is the successor's, which has ended since.
            return Gone()
        link = await change.tx.links.of(wish.user_id)
        if link is not None and link.trouble is Trouble.UNAVAILABLE:
            raise UnknownKeyError(f"link {link.id} needs a key that is not in the ring")
        if link is not None and not wish.origin.is_card and link.trouble is None and not link.is_dead:
            return Status(link=link, last_use=await change.tx.audit.last_use(link.user_id, since=link.linked_at))
        starts = await self._starts(change, wish.user_id)
        spare = 1 if len(starts) > MOST_RENEWALS else 0
        if await self._is_full(change, spare=spare) or await self._has_share(change, wish.guild_id):
            return await self._too_busy(change)
        return await self._too_many(change, wish.user_id, starts)

    async def _is_full(self, change: Change, *, spare: int = 0) -> bool:
        """Tell whether all places are taken but for so many, where there are more."""
        return await change.tx.attempts.open_count() >= max(1, self._max_pending - spare)

    async def _has_share(self, change: Change, guild_id: int | None) -> bool:
        """Tell whether one server has as many places as it may, so that there are some for others."""
        attempts, share = change.tx.attempts, max(1, int(self._max_pending * SHARE_OF_A_SERVER))
        return await attempts.open_count_in(guild_id) >= share and await attempts.has_others_than(guild_id)

    async def _too_busy(self, change: Change) -> TooBusy:
        now = self._clock.now()
        return TooBusy(await change.tx.attempts.first_deadline(now) or now + cards.ANSWER_CLOSES)

    async def _starts(self, change: Change, user_id: int) -> list[datetime]:
        """Return when a member has asked for codes within the hour."""
        return await change.tx.attempts.requested_since(user_id, self._clock.now() - RENEWAL_WINDOW)

    async def _too_many(self, change: Change, user_id: int, starts: list[datetime]) -> TooManyStarts | None:
        now = self._clock.now()
        # Who has everything deleted begins anew, but for codes that are still out at plex.tv.
        forgotten = [min(now, ends_at - CODE_LIVES) for ends_at in await change.tx.given_up.of_forgotten(user_id)]
        starts = sorted(at for at in starts + forgotten if at > now - START_WINDOW)
        return TooManyStarts(starts[-MOST_STARTS] + START_WINDOW) if len(starts) >= MOST_STARTS else None

    def _begin(self, wish: Wish) -> Attempt:
        return flow.begin(
            user_id=wish.user_id,
            guild_id=wish.guild_id,
            device_name=wish.device_name,
            place=wish.place,
            answer=wish.owed,
            now=self._clock.now(),
        )


def _tell_of_press(change: Change, wish: Wish) -> None:
    """Let whoever draws cards know of a press on a direct message: through it they can where Discord refuses edits."""
    if wish.origin is Origin.CARD:
        change.tell(CardPressed(wish.answer))
