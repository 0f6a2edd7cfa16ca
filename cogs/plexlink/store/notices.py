"""The rows of what members are told besides the cards of their attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, insert, or_, select, update

from ..models import Notice, Phase, Reason, Topic
from .cells import Opening, Sealing
from .places import read_answer, read_place, surface_columns
from .signatures import is_genuine, signed
from .tables import notices
from .words import read_optional_word, read_word, readable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from .cells import Sealer

_MOST_BEFORE_AN_ANSWER = 4
"""Each has some 300 characters, the longest answer 2,500, and Discord takes 4,000."""

_IS_MESSAGE = notices.c.lane.is_(None)


class NoticeRows:
    """Notices in one transaction."""

    def __init__(self, connection: AsyncConnection, vault: Sealer) -> None:
        self._connection = connection
        self._vault = vault

    async def add(self, notice: Notice) -> None:
        """Insert a notice."""
        seal = Sealing(self._vault, notices, notice.id, notice.user_id)
        row = signed(
            self._vault,
            notices,
            id=notice.id,
            user_id=notice.user_id,
            topic=notice.topic,
            at=notice.at,
            reason=notice.reason,
            guild_id=notice.guild_id,
            **surface_columns(seal, notice.place, notice.answer),
            **_progress(notice),
        )
        await self._connection.execute(insert(notices).values(row))

    async def get(self, notice_id: str) -> Notice | None:
        """Return one notice, whose row nobody else changes until the transaction ends."""
        one = select(notices).where(notices.c.id == notice_id).with_for_update()
        row = (await self._connection.execute(one)).first()
        return None if row is None or not is_genuine(self._vault, notices, row) else self._load(row)

    async def untold(self) -> list[Notice]:
        """Return those that their members do not know as they are, oldest first."""
        is_behind = or_(notices.c.shown.is_(None), notices.c.shown != notices.c.phase)
        return await self._select(is_behind, notices.c.is_held.is_(False))

    async def drawn_in(self, message_id: int) -> list[Notice]:
        """Return what is drawn in a message, its own or an answer."""
        return await self._select(or_(notices.c.message_id == message_id, notices.c.answer_message_id == message_id))

    async def held_for(self, user_id: int) -> list[Notice]:
        """Return what waits for the member's next answer, oldest first; no more than fits in front of one."""
        held = await self._select(notices.c.user_id == user_id, notices.c.is_held.is_(True))
        return held[:_MOST_BEFORE_AN_ANSWER]

    async def of(self, user_id: int) -> list[Notice]:
        """Return all that a member is still to be told, oldest first."""
        return await self._select(notices.c.user_id == user_id)

    async def keep(self, notice: Notice) -> None:
        """Write how far a notice has come."""
        await self._connection.execute(update(notices).where(notices.c.id == notice.id).values(**_progress(notice)))

    async def remove(self, ids: Sequence[str]) -> None:
        """Delete what the member knows."""
        if ids:
            await self._connection.execute(delete(notices).where(notices.c.id.in_(ids)))

    async def remove_about(self, user_id: int, topic: Topic) -> None:
        """Delete what is no longer true."""
        await self._connection.execute(delete(notices).where(notices.c.user_id == user_id, notices.c.topic == topic))

    async def remove_about_server(self, guild_id: int, topic: Topic) -> None:
        """Delete what is no longer true of a server, whoever was to be told."""
        await self._connection.execute(delete(notices).where(notices.c.guild_id == guild_id, notices.c.topic == topic))

    async def forget(self, user_id: int) -> None:
        """Delete what a member was to be told, but for unlinkings, whose cards stay true until their end."""
        others = notices.c.topic != Topic.UNLINKING
        await self._connection.execute(delete(notices).where(notices.c.user_id == user_id, others))

    async def prune(self, *, messages_before: datetime, cards_before: datetime) -> None:
        """Delete the messages that have waited for too long to be news, and what is over on cards."""
        is_old = or_(and_(_IS_MESSAGE, notices.c.at < messages_before), and_(~_IS_MESSAGE, notices.c.at < cards_before))
        await self._connection.execute(delete(notices).where(is_old))

    async def _select(self, *where: ColumnElement[bool]) -> list[Notice]:
        rows = await self._connection.execute(select(notices).where(*where).order_by(notices.c.at, notices.c.id))
        return readable((row for row in rows if is_genuine(self._vault, notices, row)), self._load)

    def _load(self, row: Row[Any]) -> Notice:
        return Notice(
            id=row.id,
            user_id=row.user_id,
            topic=read_word(Topic, row.topic),
            at=row.at,
            reason=read_optional_word(Reason, row.reason),
            phase=read_optional_word(Phase, row.phase),
            shown=read_optional_word(Phase, row.shown),
            place=read_place(row),
            answer=read_answer(row, Opening(self._vault, notices, row)),
            is_held=row.is_held,
            guild_id=row.guild_id,
        )


def _progress(notice: Notice) -> dict[str, Any]:
    return {"phase": notice.phase, "shown": notice.shown, "is_held": notice.is_held}
