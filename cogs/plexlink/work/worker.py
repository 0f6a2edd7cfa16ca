"""The jobs that the agenda brings up go to whoever does them; what was cut short is picked up again."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from ..community import ServerTouched
from ..errors import FencedError, StoreError, StoreUnavailableError
from ..events import AccessWanted, CardPressed, CheckWanted, PlexServersWanted, Pressed, Unsure
from ..models import Attempt, GivenUp, Notice, Phase, SignOut
from .agenda import Key, Kind
from .shares import Purpose

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..bell import Happened
    from ..clock import Clock
    from ..ledger import Ledger
    from ..store import Transaction
    from ..vitals import Jobs
    from .access import AccessCheck
    from .agenda import Agenda
    from .asker import Asker
    from .audits import Audits
    from .given_up import GivenUpCodes
    from .hand import Hand
    from .health import HealthCheck
    from .holders import Holders
    from .notices import Notices
    from .panels import Panels
    from .presenter import Presenter
    from .roles import Roles
    from .sign_outs import SignOuts

_log = logging.getLogger(__name__)

_SWEEP = Key(Kind.SWEEP, "all")
_SWEEP_SECONDS = 300.0

_FREE = {Kind.CARD, Kind.SWEEP, Kind.NOTICE, Kind.CLOSING, Kind.ROLES, Kind.AUDIT, Kind.PANEL, Kind.HOLDERS}
"""What does not ask plex.tv."""

_RENEWED_SECONDS = 1.0
"""After so long it is looked again whether this process still works."""

_UNSURE_SECONDS = 5.0
"""After so long it is looked up what became of a change that seemed to fail, unless its maker has tried again."""

MESSAGES_KEPT = timedelta(days=30)
"""How long messages wait for a member who takes none and does not come."""

CARDS_KEPT = timedelta(days=2)
"""How long what is told on a card is kept: a sign-out's time and another day."""


class Worker:
    """Hand out jobs, and plan what a crash or a bad hour left undone."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        agenda: Agenda,
        asker: Asker,
        presenter: Presenter,
        sign_outs: SignOuts,
        given_up: GivenUpCodes,
        notices: Notices,
        health: HealthCheck,
        access: AccessCheck,
        roles: Roles,
        audits: Audits,
        panels: Panels,
        holders: Holders,
        clock: Clock,
        audit_days: int,
        may_work: Callable[[], bool],
        fenced: Callable[[], None],
        is_overtaken: Callable[[], bool],
        hand: Hand,
    ) -> None:
        self._ledger = ledger
        self._agenda = agenda
        self._asker = asker
        self._presenter = presenter
        self._sign_outs = sign_outs
        self._given_up = given_up
        self._notices = notices
        self._health = health
        self._access = access
        self._roles = roles
        self._audits = audits
        self._panels = panels
        self._holders = holders
        self._clock = clock
        self._kept = agenda.people
        self._audit_kept = timedelta(days=audit_days)
        self._may_work = may_work
        self._fenced = fenced
        self._is_overtaken = is_overtaken
        self._hand = hand
        self._pause_kept = 0.0

    async def start(self) -> None:
        """Recall what was learned, and how long plex.tv wants to be left alone, and begin to work.

        Raises:
            StoreError: the database cannot be used.

        """
        async with self._ledger.change() as change:
            numbers = await change.tx.numbers.all()
        self._kept = self._agenda.people = self._agenda.people.recalling(numbers)
        self._agenda.pace.recall(numbers, self._clock.monotonic(), self._clock.now().timestamp())
        self._pause_kept = self._agenda.pace.paused_until()
        self._agenda.start(self.work)

    async def stop(self) -> None:
        """Finish what is under way, and keep what was learned."""
        await self._agenda.stop()
        await self._asker.stop()
        try:
            await self._keep_learned()
        except StoreError as error:
            _log.info("worker.not_kept: %s", error)

    @property
    def works(self) -> bool:
        """Whether this process does the work."""
        return True

    def has_worker(self) -> bool:
        """Tell that there is one."""
        return True

    def jobs(self) -> Jobs:
        """Return what waits for its turn."""
        return self._agenda.jobs()

    def resume(self) -> None:
        """Let everything that is unfinished be planned, now or as soon as the database can be used."""
        self._agenda.put(_SWEEP, Purpose.FREE)

    def hear(self, happened: Happened) -> None:
        """Plan what is to be done about something that has happened."""
        match happened:
            case Attempt():
                self._asker.hear(happened)
                self._presenter.hear(happened)
            case Pressed(attempt):
                self._asker.press(attempt)
            case CardPressed(answer):
                self._presenter.learn(answer)
            case Notice():
                self._notices.hear(happened)
                if happened.phase is Phase.SIGNING_OUT and happened.shown is None:
                    self._sign_outs.hear(happened.id, is_waited_for=True)
            case SignOut():
                self._sign_outs.hear(happened.id)
            case GivenUp():
                self._given_up.hear(happened)
            case ServerTouched(guild_id):
                self._roles.hear(guild_id)
                self._audits.hear(guild_id)
            case Unsure():
                self._agenda.put_sooner(_SWEEP, Purpose.FREE, _UNSURE_SECONDS)
            case _:
                self._hear_about_link(happened)

    def _hear_about_link(self, happened: Happened) -> None:
        """Plan what plex.tv is to be asked about a link."""
        match happened:
            case CheckWanted(link_id):
                self._health.hear(link_id)
            case AccessWanted(link_id, is_waited_for):
                self._access.hear(link_id, is_waited_for=is_waited_for)
            case PlexServersWanted(link_id):
                self._access.hear_owner(link_id)

    async def _sweep(self) -> None:
        """Plan everything that is unfinished, and to look again in five minutes."""
        self._agenda.put(_SWEEP, Purpose.FREE, _SWEEP_SECONDS)
        async with self._ledger.change() as change:
            unfinished = await change.unfinished()
            await self._prune(change.tx)
            await self._sign_outs.find(change)
            await self._given_up.find(change)
            await self._health.find(change)
            await self._access.find(change)
            await self._notices.find(change)
            await self._panels.find(change)
            await self._holders.find(change)
            await self._roles.find(change)
            await self._audits.find(change)
        for attempt in unfinished:
            self._asker.hear(attempt)
            self._presenter.find(attempt)
        await self._roles.reconcile()
        await self._keep_learned()
        self._agenda.succeeded(_SWEEP)

    async def _prune(self, tx: Transaction) -> None:
        now = self._clock.now()
        await tx.audit.prune(now - self._audit_kept)
        await tx.notices.prune(messages_before=now - MESSAGES_KEPT, cards_before=now - CARDS_KEPT)

    async def _keep_learned(self) -> None:
        """Keep what was learned since the last time; the few minutes that a crash forgets are learned anew."""
        people = self._agenda.people
        if people != self._kept:
            async with self._ledger.change() as change:
                await change.tx.numbers.keep(people.numbers())
            self._kept = people

    async def _keep_pause(self) -> None:
        """Keep that plex.tv wants to be left alone, for whoever works next, after a crash too."""
        pace = self._agenda.pace
        if pace.paused_until() > self._pause_kept:
            async with self._ledger.change() as change:
                numbers = pace.numbers(self._clock.monotonic(), self._clock.now().timestamp())
                await change.tx.numbers.keep(numbers)
            self._pause_kept = pace.paused_until()

    async def work(self, key: Key) -> None:
        """Do one job. Never raise: a job that fails is planned again."""
        if not self._may_work():
            # This process slept, and another one may work by now; if none does, the tenure is renewed in a moment.
            self._agenda.put_sooner(key, _purpose(key), _RENEWED_SECONDS)
            return
        try:
            with self._hand.noting(key, is_overtaken=self._is_overtaken):
                await self._do(key)
            await self._keep_pause()
        except FencedError:
            _log.info("worker.fenced kind=%s id=%s", key.kind, key.id)
            self._fenced()
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
            case Kind.CLOSING:
                await self._asker.close(key.id)
            case Kind.CARD:
                await self._presenter.draw(key.id)
            case Kind.SIGN_OUT:
                await self._sign_outs.sign_out(key.id)
            case Kind.GIVEN_UP:
                await self._given_up.look(key.id)
            case Kind.HEALTH:
                await self._health.check(key.id)
            case Kind.ACCESS:
                await self._access.ask(key.id)
            case Kind.NOTICE:
                await self._notices.tell(key.id)
            case Kind.SWEEP:
                await self._sweep()
            case _:
                await self._do_for_server(key.kind, int(key.id))

    async def _do_for_server(self, kind: Kind, guild_id: int) -> None:
        match kind:
            case Kind.AUDIT:
                await self._audits.tell(guild_id)
            case Kind.PANEL:
                await self._panels.look(guild_id)
            case Kind.HOLDERS:
                await self._holders.look(guild_id)
            case _:
                await self._roles.work_off(guild_id)

    def _again(self, key: Key, *, longest_seconds: float) -> None:
        turn = self._notices.turn() if key.kind is Kind.NOTICE else 0.0  # they have missed theirs
        self._agenda.retry(key, _purpose(key), longest_seconds=longest_seconds, not_before_seconds=turn)


def _purpose(key: Key) -> Purpose:
    return Purpose.FREE if key.kind in _FREE else Purpose.POLL
