"""The jobs that the poller brings up go to whoever does them; what was cut short is picked up again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .errors import StoreError, StoreUnavailableError
from .poller import Key, Kind, Urgency

if TYPE_CHECKING:
    from .asker import Asker
    from .ledger import Ledger
    from .leftovers import Leftovers
    from .poller import Poller
    from .presenter import Presenter
    from .sign_outs import SignOuts

_log = logging.getLogger(__name__)

_SWEEP = Key(Kind.SWEEP, "all")
_SWEEP_SECONDS = 300.0


class Worker:
    """Hand out jobs, and plan what a crash or a bad hour left undone."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        poller: Poller,
        asker: Asker,
        presenter: Presenter,
        sign_outs: SignOuts,
        leftovers: Leftovers,
    ) -> None:
        self._ledger = ledger
        self._poller = poller
        self._asker = asker
        self._presenter = presenter
        self._sign_outs = sign_outs
        self._leftovers = leftovers

    async def resume(self) -> None:
        """Plan everything that is unfinished, now or as soon as the database can be used."""
        await self.work(_SWEEP)

    async def _sweep(self) -> None:
        """Plan everything that is unfinished, and to look again in five minutes."""
        self._poller.put(_SWEEP, Urgency.FREE, _SWEEP_SECONDS)
        for attempt in await self._ledger.load_unfinished():
            self._asker.wake(attempt)
            if not self._poller.is_planned(Key(Kind.CARD, attempt.id)):
                self._presenter.wake_after_restart(attempt)
        await self._sign_outs.wake()
        await self._leftovers.wake()
        self._poller.succeeded(_SWEEP)

    async def work(self, key: Key) -> None:
        """Do one job. Never raise: a job that fails is planned again."""
        try:
            await self._do(key)
        except StoreUnavailableError:  # the store has said so, once for all
            self._again(key, longest_seconds=10.0)
        except StoreError as error:
            _log.error("worker.store_failed kind=%s id=%s: %s", key.kind, key.id, error)
            self._again(key, longest_seconds=30.0)
        except Exception:  # noqa: BLE001 - logged and planned again; one bad row must not stop the others
            _log.exception("worker.job_failed kind=%s id=%s", key.kind, key.id)
            self._again(key, longest_seconds=_SWEEP_SECONDS)

    async def _do(self, key: Key) -> None:
        match key.kind:
            case Kind.ATTEMPT:
                await self._asker.step(key.id)
            case Kind.CARD:
                await self._presenter.draw(key.id)
            case Kind.SIGN_OUT:
                await self._sign_outs.sign_out(key.id)
            case Kind.LEFTOVER:
                await self._leftovers.look(key.id)
            case Kind.SWEEP:
                await self._sweep()

    def _again(self, key: Key, *, longest_seconds: float) -> None:
        is_free = key.kind in {Kind.CARD, Kind.SWEEP}
        self._poller.retry(key, Urgency.FREE if is_free else Urgency.POLL, longest_seconds=longest_seconds)
