"""What this process has in its hand: heard or done outside, and in no row yet. It outlives the work.

plex.tv may tell a token only once. What is done when another process works by now may stand over what that one did.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .. import flow
from ..errors import IllegalTransitionError, StaleAttemptError, StoreError, StoreUnavailableError, VaultError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ..change import Change
    from ..ledger import Ledger
    from ..models import Attempt, GivenUp
    from ..secret import Secret
    from .agenda import Key

    Undo = Callable[[Change], Awaitable[None]]

_log = logging.getLogger(__name__)

_noted: ContextVar[list[Undo]] = ContextVar("noted")


@dataclass(frozen=True, slots=True)
class Hand:
    """What is in the hand until it is committed: tokens, by the ids of attempts, and what jobs have done outside."""

    of_attempts: dict[str, tuple[Attempt, Secret]] = field(default_factory=dict)
    of_given_up: dict[str, tuple[GivenUp, Secret]] = field(default_factory=dict)
    done: dict[Key, list[Undo]] = field(default_factory=dict)

    @contextmanager
    def noting(self, key: Key, *, is_overtaken: Callable[[], bool]) -> Iterator[None]:
        """Keep what a job does in the block, as `note` tells it, until the job has come through in its time."""
        noted = self.done.setdefault(key, [])
        before = _noted.set(noted)
        try:
            yield
            if not is_overtaken():
                noted.clear()
        finally:
            _noted.reset(before)
            if not noted:
                self.done.pop(key, None)

    async def put_down(self, ledger: Ledger) -> None:
        """Commit the tokens though another process works by now, for a row protects itself; undo the rest.

        Raises:
            StoreUnavailableError: the database cannot be used; what is not committed stays in the hand.

        """
        for attempt, token in list(self.of_attempts.values()):
            with _one_by_itself(attempt.id):
                try:
                    await ledger.advance(attempt, flow.Granted(token))
                except (StaleAttemptError, IllegalTransitionError):
                    await ledger.disown(attempt, token)
                self.of_attempts.pop(attempt.id, None)
        for given_up, token in list(self.of_given_up.values()):
            with _one_by_itself(given_up.id):
                async with ledger.change() as change:
                    await change.tx.given_up.remove(given_up.id)
                    await change.disown(given_up.id, given_up.user_id, token, given_up.client_identifier)
                self.of_given_up.pop(given_up.id, None)
        for key, noted in list(self.done.items()):
            while noted:
                try:
                    async with ledger.change() as change:
                        await noted[0](change)
                except StoreUnavailableError:
                    raise
                except Exception:  # noqa: BLE001 - logged; what cannot be undone must not keep this process from working
                    _log.exception("hand.not_undone kind=%s id=%s", key.kind, key.id)
                del noted[0]
            del self.done[key]


def note(undo: Undo) -> None:
    """Let a job's hand keep how to have that done again which was done outside, or may have been."""
    _noted.get().append(undo)


@contextmanager
def _one_by_itself(attempt_id: str) -> Iterator[None]:
    """Let what cannot be committed, for its key is missing or its row a newer release's, hold up nothing else."""
    try:
        yield
    except StoreUnavailableError:
        raise
    except (StoreError, VaultError) as error:
        _log.warning("hand.not_put_down attempt=%s: %s", attempt_id, error)
