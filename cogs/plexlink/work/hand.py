"""What this process has in its hand: done or heard outside, and in no row yet. It outlives the work.

plex.tv may tell a token only once. A card that another process knows nothing of may stand over a newer one.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from .. import flow
from ..community import ServerTouched
from ..errors import IllegalTransitionError, StaleAttemptError, StoreError, StoreUnavailableError, VaultError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ..change import Change
    from ..community import Membership
    from ..ledger import Ledger
    from ..models import Attempt, Card, GivenUp, Notice, Place
    from ..secret import Secret

_K = TypeVar("_K", str, int)
_V = TypeVar("_V")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hand:
    """What is in the hand; whoever commits it takes it out."""

    of_attempts: dict[str, tuple[Attempt, Secret]] = field(default_factory=dict)
    """Tokens, by the ids of the attempts that they came for."""
    of_given_up: dict[str, tuple[GivenUp, Secret]] = field(default_factory=dict)
    """Tokens, by the ids of the attempts whose given-up codes were approved."""
    cards: dict[str, tuple[Attempt, Card, Place]] = field(default_factory=dict)
    """What was drawn of attempts and where, by their ids."""
    late_cards: dict[str, Attempt] = field(default_factory=dict)
    """Attempts whose drawing is under way or has failed: it may have arrived, or arrive late."""
    notices: dict[str, Notice] = field(default_factory=dict)
    """Notices that were told, or were on their way."""
    roles: dict[int, Membership] = field(default_factory=dict)
    """Whose role was seen to, or was about to be, by the server's id."""

    async def put_down(self, ledger: Ledger) -> None:
        """Commit the tokens though another process works by now, for a row protects itself; have the rest done again.

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
        await _undo(ledger, self.cards, lambda change, card: change.undo_drawing(card[0], card[2]))
        await _undo(ledger, self.late_cards, lambda change, late: change.undo_drawing(late, late.place))
        await _undo(ledger, self.notices, _tell_again)
        await _undo(ledger, self.roles, _look_again)


async def _undo(ledger: Ledger, held: dict[_K, _V], undo: Callable[[Change, _V], Awaitable[object]]) -> None:
    """Let each be done again by whoever works; one whose row cannot be read is let go."""
    for key, one in list(held.items()):
        with _one_by_itself(key):
            async with ledger.change(must_last=False) as change:
                await undo(change, one)
        held.pop(key, None)


async def _tell_again(change: Change, notice: Notice) -> None:
    """Let a notice be told again; where its end was told meanwhile, let that be true which has its message."""
    newest = await change.tx.notices.get(notice.id)
    if newest is not None:
        await change.keep(replace(newest, shown=None))
    await change.drawn_over(notice.place, notice.answer, notice.user_id)


async def _look_again(change: Change, membership: Membership) -> None:
    """Let a member be looked at again whose role was given or taken."""
    await change.tx.memberships.doubt_settled(membership.id)
    change.tell(ServerTouched(membership.guild_id))


@contextmanager
def _one_by_itself(key: str | int) -> Iterator[None]:
    """Let what cannot be committed, for its key is missing or its row a newer release's, hold up nothing else."""
    try:
        yield
    except StoreUnavailableError:
        raise
    except (StoreError, VaultError) as error:
        _log.warning("hand.not_put_down of=%s: %s", key, error)
