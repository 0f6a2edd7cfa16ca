"""How long a question about a code is waited for, and what becomes of an answer that comes later."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from plexlink.errors import PlexSilentError, PlexUnavailableError
from plexlink.models import Approved, Attempt, Pending, State
from plexlink.secret import Secret
from plexlink.work.inquiries import Inquiries
from virtual_time import in_virtual_time

if TYPE_CHECKING:
    from plexlink.models import PinAnswer

ATTEMPT = Attempt(
    id="attempt",
    user_id=1,
    guild_id=None,
    device_name="",
    state=State.PENDING,
    requested_at=datetime(2026, 1, 1, tzinfo=UTC),
    client_identifier=Secret("identifier"),
    pin_id=Secret("1"),
)


@dataclass
class Desk:
    """Inquiries at a plex.tv that answers after `lasts` seconds, and the tokens that came late."""

    lasts: float
    answer: PinAnswer | Exception
    late: list[str] = field(default_factory=list)
    given_up: int = 0

    def __post_init__(self) -> None:
        client: Any = self
        self.inquiries = Inquiries(plex=client, came_late=lambda _, token: self.late.append(token.reveal()))

    async def ask(self, *_: Secret) -> PinAnswer:
        try:
            await asyncio.sleep(self.lasts)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def waited(self) -> float:
        """Ask a question that is given up; return after how long."""
        began = asyncio.get_running_loop().time()
        with pytest.raises(PlexSilentError):
            await self.inquiries.ask(ATTEMPT)
        return asyncio.get_running_loop().time() - began


@in_virtual_time
async def test_a_question_that_hangs_is_given_up_and_its_token_kept_if_it_comes() -> None:
    desk = Desk(9.0, Approved(Secret("token")))
    assert await desk.waited() == 5.0
    assert desk.late == []
    await asyncio.sleep(5)
    assert desk.late == ["token"]


@pytest.mark.parametrize("answer", [Pending(None), PlexUnavailableError("no")])
@in_virtual_time
async def test_any_other_late_answer_changes_nothing(answer: PinAnswer | Exception) -> None:
    desk = Desk(9.0, answer)
    await desk.waited()
    await asyncio.sleep(5)
    assert desk.late == []


@pytest.mark.parametrize(("pressed_after", "waited"), [(0.25, 1.0), (3.0, 3.0)])
@in_virtual_time
async def test_a_press_waits_for_a_young_question_only(pressed_after: float, waited: float) -> None:
    desk = Desk(60.0, Pending(None))
    asyncio.get_running_loop().call_later(pressed_after, desk.inquiries.hurry, ATTEMPT.id)
    assert await desk.waited() == waited
    desk.inquiries.hurry(ATTEMPT.id)


@in_virtual_time
async def test_a_stop_waits_a_moment_for_a_late_token() -> None:
    desk = Desk(6.0, Approved(Secret("token")))
    await desk.waited()
    assert desk.inquiries.is_asking(ATTEMPT.id)
    await desk.inquiries.stop()
    assert desk.late == ["token"]
    assert not desk.inquiries.is_asking(ATTEMPT.id)


@in_virtual_time
async def test_a_stop_leaves_no_question_behind() -> None:
    desk = Desk(60.0, Approved(Secret("token")))
    await desk.waited()
    asking = asyncio.create_task(desk.inquiries.ask(ATTEMPT))
    await asyncio.sleep(1)
    asking.cancel()
    await desk.inquiries.stop()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.sleep(0)
    assert (desk.given_up, desk.late) == (2, [])
