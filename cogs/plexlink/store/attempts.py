"""The attempts' rows.

State and surface are written apart (`move` and `show`), because a poll and an edit of a card may end at the same
time and neither may undo the other's columns.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, delete, exists, func, insert, or_, select, true, update

from .. import cards, flow
from ..models import Attempt, Card, Lane, Place, Reason, State, Trouble
from .cells import Opening, Sealing
from .places import read_answer, read_place, surface_columns
from .signatures import is_genuine, resigned, signed
from .tables import attempts, links
from .words import read_optional_word, read_word, readable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from .cells import Sealer


def _fits(state: State | None, reason: Reason | None) -> ColumnElement[bool]:
    wanted = [(attempts.c.state, state), (attempts.c.reason, reason)]
    return and_(true(), *(column == word for column, word in wanted if word is not None))


_OPEN = attempts.c.ended_at.is_(None)
_IS_FORGOTTEN = and_(attempts.c.reason.is_not(None), attempts.c.reason == Reason.FORGOTTEN)

# What `cards.has_left` and `cards.needs_showing` tell of an ended attempt, in SQL; made once, for that takes longer
# than the query.
_HAS_LEFT = and_(
    attempts.c.lane.is_(None),
    attempts.c.answer_token_envelope.is_(None),
    attempts.c.shown_state.is_not(None),
    attempts.c.shown_state.in_(cards.ENDS),
)
_CARD = case(*((_fits(state, reason), card) for state, reason, card in cards.OF_ENDS), else_=attempts.c.state)
_IS_ANSWER_OWED = and_(attempts.c.lane == Lane.DM, attempts.c.answer_token_envelope.is_not(None))
_IS_BEHIND = and_(~_HAS_LEFT, or_(attempts.c.shown_state.is_(None), attempts.c.shown_state != _CARD, _IS_ANSWER_OWED))


class AttemptRows:
    """Link attempts in one transaction."""

    def __init__(self, connection: AsyncConnection, vault: Sealer) -> None:
        self._connection = connection
        self._vault = vault
        self._locked: dict[str, Row[Any]] = {}

    async def add(self, attempt: Attempt) -> None:
        """Insert a new attempt."""
        row = signed(
            self._vault,
            attempts,
            id=attempt.id,
            user_id=attempt.user_id,
            guild_id=attempt.guild_id,
            device_name=attempt.device_name,
            requested_at=attempt.requested_at,
            **self._state_of(attempt),
            **self._surface_of(attempt),
        )
        await self._connection.execute(insert(attempts).values(row))

    async def get(self, attempt_id: str) -> Attempt | None:
        """Return one attempt, whose row nobody else changes until the transaction ends."""
        return await self._one(attempts.c.id == attempt_id)

    async def open_of(self, user_id: int) -> Attempt | None:
        """Return the member's open attempt, if there is one."""
        return await self._one(and_(attempts.c.user_id == user_id, _OPEN))

    async def all_of(self, user_id: int) -> list[Attempt]:
        """Return all attempts of a member that are still known, oldest first."""
        return await self._select(attempts.c.user_id == user_id)

    async def unfinished(self) -> list[Attempt]:
        """Return all attempts that are open, or that their member does not know the end of, oldest first."""
        return await self._select(or_(_OPEN, _IS_BEHIND))

    async def contested(self) -> list[Attempt]:
        """Return the attempts whose members are asked whether another member's account is theirs."""
        return await self._select(and_(attempts.c.state == State.APPROVED, attempts.c.reason == Reason.TAKEN))

    async def requested_since(self, user_id: int, since: datetime) -> list[datetime]:
        """Return when the member asked for codes since an instant, oldest first."""
        rows = await self._connection.execute(
            select(attempts.c.requested_at)
            .where(attempts.c.user_id == user_id, attempts.c.requested_at > since)
            .order_by(attempts.c.requested_at)
        )
        return list(rows.scalars())

    async def shown_in(self, message_id: int) -> Attempt | None:
        """Return the newest attempt whose card is in a message, its own or an answer."""
        return await self._one(_is_in([message_id]))

    async def with_card_in(self, message_ids: Collection[int]) -> list[Attempt]:
        """Return the attempts whose cards are in these messages, or are to be, oldest first."""
        return await self._select(_is_in(message_ids))

    async def open_count(self) -> int:
        """Return how many attempts have not ended."""
        rows = await self._connection.execute(select(func.count()).select_from(attempts).where(_OPEN))
        return rows.scalar_one()

    async def open_count_in(self, guild_id: int | None) -> int:
        """Return how many attempts of one server have not ended; those of direct messages are together, too."""
        is_there = attempts.c.guild_id.is_not_distinct_from(guild_id)
        rows = await self._connection.execute(select(func.count()).select_from(attempts).where(_OPEN, is_there))
        return rows.scalar_one()

    async def has_others_than(self, guild_id: int | None) -> bool:
        """Tell whether anybody has begun an attempt in another server of late."""
        is_elsewhere = and_(attempts.c.guild_id.is_not(None), attempts.c.guild_id.is_distinct_from(guild_id))
        rows = await self._connection.execute(select(exists().where(is_elsewhere)))
        return bool(rows.scalar_one())

    async def first_deadline(self, after: datetime) -> datetime | None:
        """Return when the first open code runs out after an instant."""
        rows = await self._connection.execute(
            select(func.min(attempts.c.deadline_at)).where(_OPEN, attempts.c.deadline_at > after)
        )
        first: datetime | None = rows.scalar_one()
        return first

    async def move(self, attempt: Attempt) -> None:
        """Write the attempt's state and secrets."""
        await self._write(attempt.id, self._state_of(attempt))

    async def show(self, attempt: Attempt) -> None:
        """Write what the member sees of the attempt, and where."""
        await self._write(attempt.id, self._surface_of(attempt))

    async def annotate(self, attempt_id: str, reason: Reason) -> None:
        """Note what became of an ended attempt's link."""
        await self._write(attempt_id, {"reason": reason})

    async def forget(self, user_id: int) -> None:
        """Delete a member's ended attempts; mark those whose card still tells something, to go when it does not."""
        is_over = and_(attempts.c.user_id == user_id, attempts.c.ended_at.is_not(None))
        names_the_account = and_(attempts.c.state == State.LINKED, attempts.c.reason.is_(None))
        tells_nothing = or_(_HAS_LEFT, and_(~_IS_BEHIND, ~names_the_account))
        await self._connection.execute(delete(attempts).where(is_over, tells_nothing))
        for attempt_id in (await self._connection.execute(select(attempts.c.id).where(is_over))).scalars().all():
            await self._write(attempt_id, {"reason": Reason.FORGOTTEN})

    async def remove(self, attempt_id: str) -> None:
        """Delete one attempt."""
        await self._connection.execute(delete(attempts).where(attempts.c.id == attempt_id))

    async def prune(self, *, seen_before: datetime, unseen_before: datetime) -> int:
        """Delete attempts that ended long ago and that no link came from, unseen ones later; return how many."""
        result = await self._connection.execute(
            delete(attempts).where(
                or_(
                    and_(or_(attempts.c.ended_at < seen_before, _IS_FORGOTTEN), ~_IS_BEHIND),
                    attempts.c.ended_at < unseen_before,
                ),
                ~exists().where(links.c.attempt_id == attempts.c.id),
            )
        )
        return result.rowcount

    async def _write(self, attempt_id: str, columns: dict[str, Any]) -> None:
        is_it = attempts.c.id == attempt_id
        row = self._locked.pop(attempt_id, None)
        if row is None:
            row = (await self._connection.execute(select(attempts).where(is_it).with_for_update())).first()
        if row is not None:
            written = update(attempts).where(is_it).values(resigned(self._vault, attempts, row, columns))
            await self._connection.execute(written.execution_options(erases=_erases(row, columns)))

    async def _select(self, where: ColumnElement[bool]) -> list[Attempt]:
        rows = await self._connection.execute(
            select(attempts).where(where).order_by(attempts.c.requested_at, attempts.c.id)
        )
        return readable(rows, self._load)

    async def _one(self, where: ColumnElement[bool]) -> Attempt | None:
        """Return the newest attempt, locked. Raise NewerRowError if it cannot be read."""
        newest = select(attempts).where(where).order_by(attempts.c.requested_at.desc()).limit(1)
        row = (await self._connection.execute(newest.with_for_update())).first()
        if row is None:
            return None
        self._locked[row.id] = row  # as it stays until we write it: nobody reads it a second time
        return self._load(row)

    def _state_of(self, attempt: Attempt) -> dict[str, Any]:
        seal = Sealing(self._vault, attempts, attempt.id, attempt.user_id)
        secrets = {
            "client_identifier_envelope": attempt.client_identifier,
            "pin_id_envelope": attempt.pin_id,
            "user_code_envelope": attempt.user_code,
            "token_envelope": attempt.token,
        }
        return {
            "state": attempt.state,
            "reason": attempt.reason,
            "deadline_at": attempt.deadline_at,
            "ended_at": attempt.ended_at,
            **{column: seal(column, secret) for column, secret in secrets.items()},
        }

    def _surface_of(self, attempt: Attempt) -> dict[str, Any]:
        seal = Sealing(self._vault, attempts, attempt.id, attempt.user_id)
        return {"shown_state": attempt.shown_state, **surface_columns(seal, attempt.place, attempt.answer)}

    def _load(self, row: Row[Any]) -> Attempt:
        opening = Opening(self._vault, attempts, row)
        answer = read_answer(row, opening)
        attempt = Attempt(
            id=row.id,
            user_id=row.user_id,
            guild_id=row.guild_id,
            device_name=row.device_name,
            state=read_word(State, row.state),
            reason=read_optional_word(Reason, row.reason),
            requested_at=row.requested_at,
            deadline_at=row.deadline_at,
            ended_at=row.ended_at,
            client_identifier=opening.optional("client_identifier_envelope"),
            pin_id=opening.optional("pin_id_envelope"),
            user_code=opening.optional("user_code_envelope"),
            token=opening.optional("token_envelope"),
            shown_state=read_optional_word(Card, row.shown_state),
            place=read_place(row),
            answer=answer,
            trouble=opening.trouble,
        )
        if not is_genuine(self._vault, attempts, row):
            return replace(attempt, place=Place(), answer=None, trouble=Trouble.BROKEN)
        if attempt.trouble is None and not flow.is_whole(attempt):
            return replace(attempt, trouble=Trouble.BROKEN)
        return attempt


def _erases(row: Row[Any], columns: Mapping[str, Any]) -> bool:
    """Tell whether an update takes a secret away; one that is sealed anew stays."""
    of_answer = ("answer_message_id", "answer_at")
    is_other_answer = any(columns.get(name, row._mapping[name]) != row._mapping[name] for name in of_answer)  # noqa: SLF001
    erased = [name for name, value in columns.items() if name.endswith("_envelope") and value is None]
    erased += ["answer_token_envelope"] * is_other_answer
    return any(row._mapping[name] is not None for name in erased)  # noqa: SLF001 - public in all but name


def _is_in(message_ids: Collection[int]) -> ColumnElement[bool]:
    return or_(attempts.c.message_id.in_(message_ids), attempts.c.answer_message_id.in_(message_ids))
