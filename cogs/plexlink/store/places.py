"""Where a card is: the columns that attempts and notices have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..models import Answer, Lane, Place
from .words import read_optional_word

if TYPE_CHECKING:
    from sqlalchemy import Row

    from .cells import Opening, Sealing


def surface_columns(seal: Sealing, place: Place, answer: Answer | None) -> dict[str, Any]:
    """Return the columns of a card's place, and of the interaction that can be answered."""
    return {
        "lane": place.lane,
        "channel_id": place.channel_id,
        "message_id": place.message_id,
        "answer_token_envelope": seal("answer_token_envelope", answer.token if answer else None),
        "answer_message_id": answer.message_id if answer else None,
        "answer_at": answer.at if answer else None,
    }


def read_place(row: Row[Any]) -> Place:
    """Return where the card of a row is."""
    return Place(lane=read_optional_word(Lane, row.lane), channel_id=row.channel_id, message_id=row.message_id)


def read_answer(row: Row[Any], opening: Opening) -> Answer | None:
    """Return the interaction that can be answered; an unreadable one is only a lost answer."""
    token = opening.optional("answer_token_envelope")
    opening.trouble = None
    return None if token is None else Answer(message_id=row.answer_message_id, token=token, at=row.answer_at)
