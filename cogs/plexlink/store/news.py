"""The rows of what members are still to be told."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from ..models import News, Topic
from .tables import news
from .words import read_word, readable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.ext.asyncio import AsyncConnection


class NewsRows:
    """News in one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, user_id: int, topic: Topic, at: datetime) -> None:
        """Insert news, with an id that is also the nonce of their message."""
        await self._connection.execute(
            insert(news).values(id=secrets.token_urlsafe(16), user_id=user_id, topic=topic, at=at)
        )

    async def get(self, news_id: str) -> News | None:
        """Return one piece of news."""
        found = await self._select(news.c.id == news_id)
        return found[0] if found else None

    async def to_be_sent(self) -> list[News]:
        """Return what no message has been tried for, oldest first."""
        return await self._select(news.c.is_held.is_(False))

    async def held_for(self, user_id: int) -> list[News]:
        """Return what waits for the member's next answer, oldest first."""
        return await self._select(news.c.user_id == user_id, news.c.is_held.is_(True))

    async def of(self, user_id: int) -> list[News]:
        """Return all that a member is still to be told, oldest first."""
        return await self._select(news.c.user_id == user_id)

    async def hold(self, news_id: str) -> None:
        """Keep what no message could bring for the member's next answer."""
        await self._connection.execute(update(news).where(news.c.id == news_id).values(is_held=True))

    async def remove(self, ids: Sequence[str]) -> None:
        """Delete what the member knows."""
        await self._connection.execute(delete(news).where(news.c.id.in_(ids)))

    async def remove_about(self, user_id: int, topic: Topic) -> None:
        """Delete what is no longer true."""
        await self._connection.execute(delete(news).where(news.c.user_id == user_id, news.c.topic == topic))

    async def forget(self, user_id: int) -> None:
        """Delete all that the member was to be told."""
        await self._connection.execute(delete(news).where(news.c.user_id == user_id))

    async def prune(self, before: datetime) -> None:
        """Delete what has waited for too long to be news."""
        await self._connection.execute(delete(news).where(news.c.at < before))

    async def _select(self, *where: ColumnElement[bool]) -> list[News]:
        rows = await self._connection.execute(select(news).where(*where).order_by(news.c.at, news.c.id))
        return readable(rows, _load)


def _load(row: Row[Any]) -> News:
    return News(id=row.id, user_id=row.user_id, topic=read_word(Topic, row.topic), at=row.at, is_held=row.is_held)
