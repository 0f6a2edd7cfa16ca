"""Where cards are: in one transaction, an attempt takes a message, moves to another, or leaves it to something else.

An attempt's `place` is where it was drawn, its `answer` the interaction through which it is drawn, or through which the
way to it is shown. What was drawn over is drawn again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from . import cards, flow
from .models import Lane, Origin, Phase, Place, Topic

if TYPE_CHECKING:
    from .change import Change
    from .models import Answer, Attempt, Link, Reason, Wish


async def begin(change: Change, attempt: Attempt) -> None:
    """Keep a new attempt, whose messages are its alone from now on."""
    await _take(change, attempt)
    await change.add(attempt)


async def hand_over(change: Change, attempt: Attempt, successor: Attempt) -> None:
    """Cancel an open attempt whose card its successor takes over."""
    await change.move(attempt, flow.Cancelled())
    await begin_in_place_of(change, attempt.id, successor)


async def begin_in_place_of(change: Change, attempt_id: str, successor: Attempt) -> None:
    """Part an ended attempt from its card, and keep the new one which takes over both card and owed answer.

    Where the card has moved to another answer since its button was pressed, it is wanted there.
    """
    former = await part_from_card(change, attempt_id)
    if former is not None:
        successor = replace(successor, answer=_newer_answer(change, former, successor.answer))
    await begin(change, successor)


async def bring(change: Change, attempt: Attempt, answer: Answer) -> None:
    """Let an open attempt's card, or the way to it, be in a newer answer, and tell so in the older one."""
    if attempt.answer is not None and attempt.answer.message_id != answer.message_id:
        await _retire(change, attempt.user_id, attempt.answer.place, attempt.answer)
    brought = replace(_in_answer(attempt, answer), shown_state=None)
    await _take(change, brought)
    await change.surface(brought)


async def learn_from_press(change: Change, attempt: Attempt, wish: Wish) -> Attempt:
    """Keep what a press tells of the card's place: a newer interaction with it, or where the message is."""
    if wish.origin is Origin.ANSWER and attempt.place.lane is not Lane.DM:
        has_moved = attempt.answer is not None and attempt.answer.message_id != wish.answer.message_id
        return attempt if has_moved else await change.surface(_in_answer(attempt, wish.answer))
    if wish.origin is Origin.CARD and attempt.place.lane is None:
        # The message was sent, but its place was not committed before a crash.
        return await change.surface(replace(attempt, place=wish.place))
    return attempt


async def part_from_card(change: Change, attempt_id: str) -> Attempt | None:
    """Leave an ended attempt's card to something else; return the attempt as it was.

    A command may still wait to be pointed to a direct message: that is owed, whatever stands there now.
    """
    former = await change.newest(attempt_id)
    if former is not None:
        if former.place.lane is Lane.DM and former.answer is not None:
            await _retire(change, former.user_id, former.answer.place, former.answer)
        card = cards.card_for(former, change.clock.now())
        await change.surface(replace(former, shown_state=card, place=Place(), answer=None))
    return former


async def end_link(change: Change, link: Link, reason: Reason, *, place: Place, answer: Answer | None) -> None:
    """Erase a link, and tell at `place` how signing it out goes, over the end of an attempt that was told there."""
    sign_out_id = await change.remove_link(link, reason)
    if answer is not None:
        await _part_ended_from(change, answer)
    await change.notify(
        link.user_id,
        Topic.UNLINKING,
        notice_id=sign_out_id or link.id,
        reason=reason,
        phase=Phase.UNREADABLE if sign_out_id is None else Phase.SIGNING_OUT,
        place=place,
        answer=answer,
    )


async def outdate(change: Change, message_id: int | None, *, through: Answer | None = None) -> Attempt | None:
    """Let that be drawn again over which something else was drawn; return the attempt which has the message.

    An answer in which an end was told is forgotten: it is drawn again `through` an interaction that is still open.
    """
    if message_id is None:
        return None
    for notice in await change.tx.notices.drawn_in(message_id):
        await change.tell_again(notice)
    attempt = await change.tx.attempts.shown_in(message_id)
    if attempt is not None and attempt.place.lane is Lane.ANSWER and attempt.answer is None:
        if cards.is_answer_closed(through, change.clock.now()):
            return attempt
        attempt = replace(attempt, answer=through)
    return None if attempt is None else await change.surface(replace(attempt, shown_state=None))


async def undo_drawing(change: Change, drawn: Attempt, place: Place) -> None:
    """Let that be true again over which an attempt was drawn, or may have been, by a process that knew too little.

    Where nothing else is known to be, the attempt itself is told as it is, or where it is.
    """
    message_id, answer = cards.message_at(place, drawn.answer), drawn.answer
    holder = await outdate(change, message_id, through=answer)
    if message_id is None or holder is not None or await change.tx.notices.drawn_in(message_id):
        return
    newest = await change.newest(drawn.id)
    is_in_message = newest is not None and newest.place.lane is Lane.DM
    if place.lane is Lane.DM:
        if newest is None or is_in_message:
            await _retire(change, drawn.user_id, place, None)
        else:
            await change.surface(replace(newest, place=place, shown_state=None))
    elif answer is None or cards.is_answer_closed(answer, change.clock.now()):
        return
    elif newest is None or newest.answer is not None:
        await _retire(change, drawn.user_id, answer.place, answer)
    elif is_in_message:
        await change.surface(replace(newest, answer=answer))
    else:
        await change.surface(replace(newest, answer=answer, place=answer.place, shown_state=None))


async def _part_ended_from(change: Change, answer: Answer) -> None:
    """Leave an answer to something else in which the end of an attempt was told."""
    for former in await change.tx.attempts.with_card_in([answer.message_id]):
        if former.place.lane is Lane.ANSWER and flow.is_over(former):
            await part_from_card(change, former.id)


async def _take(change: Change, attempt: Attempt) -> None:
    """Let an attempt's messages be its alone: ends that were still to be shown there are not, nor that it moved."""
    answers = [attempt.answer.message_id] if attempt.answer else []
    messages = [attempt.place.message_id] if attempt.place.message_id else []
    for former in await change.tx.attempts.with_card_in(messages + answers):
        if former.id == attempt.id:
            continue
        if former.place.lane is Lane.DM and former.place.message_id not in messages:
            await change.surface(replace(former, answer=None))  # only the way to its card was to be shown here
        else:
            await part_from_card(change, former.id)
    told = [notice for message_id in messages + answers for notice in await change.tx.notices.drawn_in(message_id)]
    await change.tx.notices.remove([notice.id for notice in told if notice.topic is Topic.RETIRED])


async def _retire(change: Change, user_id: int, place: Place, answer: Answer | None) -> None:
    """Let a message say that the card which it was to show or to point to is not to be found there."""
    await change.notify(user_id, Topic.RETIRED, place=place, answer=answer)


def _newer_answer(change: Change, former: Attempt, pressed: Answer | None) -> Answer | None:
    if former.answer is None or pressed is None:
        return former.answer or pressed
    has_moved = former.answer.message_id != pressed.message_id
    return former.answer if has_moved and not cards.is_answer_closed(former.answer, change.clock.now()) else pressed


def _in_answer(attempt: Attempt, answer: Answer) -> Attempt:
    """Return an attempt whose card, or the way to it, is in an answer."""
    return replace(attempt, answer=answer, place=answer.place if attempt.place.lane is Lane.ANSWER else attempt.place)
