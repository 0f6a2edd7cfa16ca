"""News that nobody asked for reach members: by direct message, or with the next answer where those are closed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from ..errors import NotifyError
from .agenda import Key, Kind, Urgency

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..clock import Clock
    from ..models import News
    from ..store import Store, Transaction
    from .agenda import Agenda

_log = logging.getLogger(__name__)

_APART_SECONDS = 1.0
"""Between two messages: a bad day of plex.tv must not look like spam to Discord."""

_FIRST_RETRY_SECONDS = 5.0
_LONGEST_RETRY_SECONDS = 600.0


class NewsNotifier(Protocol):
    """What the messenger needs of the surface."""

    async def tell(self, news: News) -> bool:
        """Send news by direct message; tell whether the member takes any.

        Raises:
            NotifyError: it did not arrive; try again.

        """
        ...


class Messenger:
    """Bring news, one at a time."""

    def __init__(self, *, store: Store, agenda: Agenda, notifier: NewsNotifier, clock: Clock) -> None:
        self._store = store
        self._agenda = agenda
        self._notifier = notifier
        self._clock = clock
        self._next_at = 0.0

    async def wake(self) -> None:
        """Plan a message for everything that none has been tried for."""
        async with self._store.transaction() as tx:
            await self.find(tx)

    async def find(self, tx: Transaction) -> None:
        """Plan as `wake` does."""
        for news in await tx.news.to_be_sent():
            key = Key(Kind.NEWS, news.id)
            if not self._agenda.is_planned(key):
                self._agenda.put(key, Urgency.FREE, self._turn())

    def _turn(self) -> float:
        """Return in how many seconds the next message may go."""
        now = self._clock.monotonic()
        turn = max(now, self._next_at)
        self._next_at = turn + _APART_SECONDS
        return turn - now

    async def tell(self, news_id: str) -> None:
        """Send one message; what it could not bring is kept for the next answer."""
        async with self._store.transaction() as tx:
            news = await tx.news.get(news_id)
        if news is None or news.is_held:
            return
        key = Key(Kind.NEWS, news_id)
        try:
            has_arrived = await self._notifier.tell(news)
        except NotifyError as error:
            delay = self._agenda.retry(
                key, Urgency.FREE, first_seconds=_FIRST_RETRY_SECONDS, longest_seconds=_LONGEST_RETRY_SECONDS
            )
            _log.warning("news.failed id=%s, trying again in %.0f s: %s", news_id, delay, error)
            return
        self._agenda.succeeded(key)
        async with self._store.transaction() as tx:
            await (tx.news.remove([news_id]) if has_arrived else tx.news.hold(news_id))

    async def held_for(self, user_id: int) -> list[News]:
        """Return what a member is to be told with the next answer."""
        async with self._store.transaction() as tx:
            return await tx.news.held_for(user_id)

    async def heard(self, news: Sequence[News]) -> None:
        """Forget what a member was told."""
        async with self._store.transaction() as tx:
            await tx.news.remove([each.id for each in news])
