"""Credentials that nobody needs any more are signed out at plex.tv, with patience but not for ever.

::

    sign out ──▶ verify ──▶ done: plex.tv refuses the token
        │           └ it still works ─▶ find our device ──▶ remove it ──▶ verify
        └ plex.tv will not ──────────────────▲

Each step is one request. A restart begins at the first one; a token that plex.tv does not know there is verified too.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING

from ..errors import PlexError, PlexRefusedError, PlexUnavailableError, TokenRejectedError
from ..models import Phase, Topic, Trouble
from .agenda import Key, Kind
from .shares import Purpose

if TYPE_CHECKING:
    from ..change import Change
    from ..clock import Clock
    from ..ledger import Ledger
    from ..models import SignOut
    from ..plex import PlexClient
    from .agenda import Agenda

_log = logging.getLogger(__name__)

GIVES_UP_AFTER = timedelta(hours=24)

_FIRST_RETRY_SECONDS = 30.0
_LONGEST_RETRY_SECONDS = 1800.0
_TRIES_BEFORE_THE_OTHER_WAY = 3


class _Step(Enum):
    SIGN_OUT = auto()
    VERIFY = auto()
    VERIFY_DEAD = auto()
    FIND_DEVICE = auto()
    REMOVE_DEVICE = auto()
    VERIFY_REMOVAL = auto()


_VERIFIES = {_Step.VERIFY, _Step.VERIFY_DEAD}
_ENDS = {_Step.VERIFY: Phase.SIGNED_OUT, _Step.VERIFY_REMOVAL: Phase.DEVICE_REMOVED}


class SignOuts:
    """Work off the waiting sign-outs."""

    def __init__(self, *, ledger: Ledger, plex: PlexClient, agenda: Agenda, clock: Clock) -> None:
        self._ledger = ledger
        self._plex = plex
        self._agenda = agenda
        self._clock = clock
        self._steps: dict[str, _Step] = {}
        self._devices: dict[str, str] = {}
        self._waited_for: set[str] = set()

    def hear(self, row_id: str, *, is_waited_for: bool = False) -> None:
        """Plan one, ahead of the background if its member is looking on."""
        if is_waited_for:
            self._waited_for.add(row_id)
        if is_waited_for or not self._agenda.is_planned(Key(Kind.SIGN_OUT, row_id)):
            self._plan(row_id)

    async def find(self, change: Change) -> None:
        """Plan all that wait; whoever queued them, another process included."""
        for row_id in await change.tx.sign_outs.ids():
            self.hear(row_id)

    def _plan(self, row_id: str) -> None:
        purpose = Purpose.ACCOUNT if row_id in self._waited_for else Purpose.BACKGROUND
        self._agenda.put(Key(Kind.SIGN_OUT, row_id), purpose)

    async def sign_out(self, row_id: str) -> None:
        """Take the next step in making plex.tv forget one credential; after the last one, erase it here."""
        async with self._ledger.change() as change:
            row = await change.tx.sign_outs.get(row_id)
        if row is None:
            return
        is_late = self._clock.now() >= row.requested_at + GIVES_UP_AFTER
        if row.trouble is None:
            await self._try(row)
        elif row.trouble is Trouble.BROKEN or is_late:
            await self._finish(row, Phase.UNREADABLE)

    async def _try(self, row: SignOut) -> None:
        step = self._steps.get(row.id, _Step.SIGN_OUT)
        try:
            following = await self._take(step, row)
        except TokenRejectedError:
            await self._finish(row, _ENDS.get(step, Phase.DEAD_ALREADY))
        except PlexError as error:
            await self._failed(row, step, error)
        else:
            self._steps[row.id] = following
            self._plan(row.id)
            if step is _Step.SIGN_OUT and following is _Step.VERIFY:
                await self._tell(row, Phase.CHECKING)

    async def _take(self, step: _Step, row: SignOut) -> _Step:
        """Take one step and return the next one. Raise TokenRejectedError where plex.tv knows the token no more."""
        match step:
            case _Step.SIGN_OUT:
                try:
                    await self._plex.sign_out(row.token, row.client_identifier)
                except TokenRejectedError:
                    return _Step.VERIFY_DEAD
                return _Step.VERIFY
            case _Step.VERIFY | _Step.VERIFY_DEAD:
                await self._plex.account(row.token, row.client_identifier)
                return _Step.FIND_DEVICE
            case _Step.FIND_DEVICE:
                return await self._find_device(row)
            case _Step.REMOVE_DEVICE:
                await self._plex.remove_device(row.token, row.client_identifier, self._devices[row.id])
                return _Step.VERIFY_REMOVAL
            case _Step.VERIFY_REMOVAL:
                await self._plex.account(row.token, row.client_identifier)
                raise PlexUnavailableError("plex.tv still accepts a token that it was told to forget")

    async def _find_device(self, row: SignOut) -> _Step:
        device = await self._plex.device_of(row.token, row.client_identifier)
        if device is None:
            return _Step.VERIFY_REMOVAL
        self._devices[row.id] = device
        return _Step.REMOVE_DEVICE

    async def _failed(self, row: SignOut, step: _Step, error: PlexError) -> None:
        _log.info("sign_out.no_answer id=%s: %s", row.id, error)
        if self._clock.now() >= row.requested_at + GIVES_UP_AFTER:
            await self._finish(row, Phase.GIVEN_UP)
            return
        self._waited_for.discard(row.id)
        key = Key(Kind.SIGN_OUT, row.id)
        self._steps[row.id] = _after_failure(step, error, self._agenda.failures(key))
        if isinstance(error, PlexRefusedError) and step is _Step.SIGN_OUT:
            self._plan(row.id)
            return
        self._agenda.retry(
            key,
            Purpose.BACKGROUND,
            first_seconds=_FIRST_RETRY_SECONDS,
            longest_seconds=_LONGEST_RETRY_SECONDS,
            last_chance_seconds=(row.requested_at + GIVES_UP_AFTER - self._clock.now()).total_seconds(),
        )
        await self._tell(row, Phase.UNCHECKED if step is _Step.VERIFY else Phase.DELAYED)

    async def _tell(self, row: SignOut, phase: Phase) -> None:
        """Let the card tell how far it has come, where there is one; once it has promised a message, it goes on to."""
        async with self._ledger.change() as change:
            notice = await change.tx.notices.get(row.id)
            if notice is None:
                return
            if phase is Phase.CHECKING and notice.phase is not Phase.SIGNING_OUT:
                phase = Phase.UNCHECKED
            if notice.phase is not phase:
                await change.keep(replace(notice, phase=phase))

    async def _finish(self, row: SignOut, phase: Phase) -> None:
        async with self._ledger.change() as change:
            await change.tx.sign_outs.remove(row.id)
            await _conclude(change, row, phase)
        self._agenda.succeeded(Key(Kind.SIGN_OUT, row.id))
        self._waited_for.discard(row.id)
        self._steps.pop(row.id, None)
        self._devices.pop(row.id, None)
        log = _log.warning if phase is Phase.GIVEN_UP else _log.info
        log("sign_out.%s id=%s user=%s", phase, row.id, row.user_id)


def _after_failure(step: _Step, error: PlexError, failures: int) -> _Step:
    """Return where to go on: the first way again, the other one where plex.tv refuses the first or keeps silent."""
    if step in _VERIFIES:
        return step
    is_stuck = failures % (2 * _TRIES_BEFORE_THE_OTHER_WAY) >= _TRIES_BEFORE_THE_OTHER_WAY
    goes_the_other_way = is_stuck or isinstance(error, PlexRefusedError)
    return _Step.FIND_DEVICE if step is _Step.SIGN_OUT and goes_the_other_way else _Step.SIGN_OUT


async def _conclude(change: Change, row: SignOut, phase: Phase) -> None:
    """Let the card tell how it ended where there is one; that it was not done is a message in any case."""
    notice = await change.tx.notices.get(row.id)
    if notice is not None:
        await change.keep(replace(notice, phase=phase))
    if phase in {Phase.GIVEN_UP, Phase.UNREADABLE}:
        await change.notify(row.user_id, Topic.NOT_SIGNED_OUT)
