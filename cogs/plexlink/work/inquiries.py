"""Questions about codes: given up when plex.tv lets them hang, and heard all the same if they are answered late."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from ..errors import PlexSilentError, StaleAttemptError
from ..models import Approved

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..models import Attempt, PinAnswer
    from ..plex import PlexClient
    from ..secret import Secret

ANSWERED_WITHIN_SECONDS = 5.0
"""plex.tv mostly answers within one; whoever waits longer waits for nothing, and the next question is asked anew."""

PRESSED_WITHIN_SECONDS = 1.0
"""How old a question may be for a press to wait for it."""

_DRAIN_SECONDS = 2.0


class Inquiries:
    """Ask plex.tv about codes.

    `came_late` is told a token that came when nobody waited for it any more: plex.tv may tell it only once.
    """

    def __init__(self, *, plex: PlexClient, came_late: Callable[[Attempt, Secret], None]) -> None:
        self._plex = plex
        self._came_late = came_late
        self._patience: dict[str, tuple[asyncio.Timeout, float]] = {}
        self._unanswered: dict[asyncio.Task[PinAnswer], str] = {}

    async def ask(self, attempt: Attempt) -> PinAnswer:
        """Ask whether an attempt's code has been approved.

        Raises:
            StaleAttemptError: the attempt has no code.
            PlexError: it is not known; what hangs is asked anew.

        """
        if attempt.pin_id is None or attempt.client_identifier is None:
            raise StaleAttemptError("the attempt holds no code in its state")
        question = asyncio.ensure_future(self._plex.ask(attempt.pin_id, attempt.client_identifier))
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(now + ANSWERED_WITHIN_SECONDS) as patience:
                self._patience[attempt.id] = patience, now + PRESSED_WITHIN_SECONDS
                return await asyncio.shield(question)
        except TimeoutError:
            self._unanswered[question] = attempt.id
            question.add_done_callback(partial(self._is_answered, attempt))
            raise PlexSilentError("plex.tv lets a question hang") from None
        except asyncio.CancelledError:
            question.cancel()
            raise
        finally:
            self._patience.pop(attempt.id, None)

    def hurry(self, attempt_id: str) -> None:
        """Let nobody wait any longer for a question that hangs: its member has pressed, and it is asked anew."""
        patience, enough_at = self._patience.get(attempt_id, (None, 0.0))
        if patience is not None:
            with suppress(RuntimeError):  # its time is over this very moment
                patience.reschedule(enough_at)

    def is_asking(self, attempt_id: str) -> bool:
        """Tell whether a question is open that nobody waits for any more."""
        return attempt_id in self._unanswered.values()

    async def stop(self) -> None:
        """Wait a moment for what is still unanswered, and give it up."""
        if not self._unanswered:
            return
        _, late = await asyncio.wait(self._unanswered, timeout=_DRAIN_SECONDS)
        for question in late:
            question.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _is_answered(self, attempt: Attempt, question: asyncio.Task[PinAnswer]) -> None:
        self._unanswered.pop(question, None)
        if question.cancelled() or question.exception() is not None:
            return
        answer = question.result()
        if isinstance(answer, Approved):
            self._came_late(attempt, answer.token)
