"""Tokens that plex.tv has told and that no row holds yet: it may tell them only once, so they outlive the work."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .. import flow
from ..errors import IllegalTransitionError, StaleAttemptError, StoreError, StoreUnavailableError, VaultError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..ledger import Ledger
    from ..models import Attempt, GivenUp
    from ..secret import Secret

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hand:
    """What this process holds in its hand, by the ids of attempts; whoever commits it takes it out."""

    of_attempts: dict[str, tuple[Attempt, Secret]] = field(default_factory=dict)
    of_given_up: dict[str, tuple[GivenUp, Secret]] = field(default_factory=dict)

    async def put_down(self, ledger: Ledger) -> None:
        """Commit all of it though another process works by now: a row protects itself.

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


@contextmanager
def _one_by_itself(attempt_id: str) -> Iterator[None]:
    """Let what cannot be committed, for its key is missing or its row a newer release's, hold up nothing else."""
    try:
        yield
    except StoreUnavailableError:
        raise
    except (StoreError, VaultError) as error:
        _log.warning("hand.not_put_down attempt=%s: %s", attempt_id, error)
