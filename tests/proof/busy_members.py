"""Members who link, cancel, renew, undo and let codes expire, and who go on whatever happens to the bot.

A member knows only what they see: the newest card decides what they do next. So the same member finishes a story
that was begun before the bot was killed.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from invariants import attempt_of, code_on, says
from plexlink_bot.sandbox.plex_tv import ALICE, KID, Account, CodeError
from small_discord import InteractionState, NotPossibleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from invariants import Witness
    from processes import Deployment
    from small_discord import Interaction, Message

HAS_NO_ATTEMPT = {"approved", "undone", "unlinked"}
"""What cards tell whose buttons, if any, lead to no attempt."""

IMPATIENT_SECONDS = 4.0
"""How long a member looks at the same card before doing something again."""

_accounts = itertools.count(50_000)


class Goal(StrEnum):
    """What a member wants to see in the end."""

    LINK = "linked"
    CANCEL = "cancelled"
    RENEW = "linked with a new code"
    UNDO = "undone"
    UNLINK = "unlinked"
    REPLACE = "linked with another account"
    REFUSE = "refused"
    ASK_TWICE = "linked after asking twice"
    LET_EXPIRE = "linked after a code ran out"
    FUMBLE = "linked after pressing all buttons at once"


class Step(StrEnum):
    """What a member is about to do."""

    TYPE = "type"
    TYPE_AGAIN = "type again"
    APPROVE = "approve"
    CHECK = "I've approved it"
    CANCEL = "Cancel"
    NEW = "New code"
    UNDO = "Not me: undo"
    ASK_TO_UNLINK = "type /plexunlink"
    UNLINK = "Unlink"
    ANOTHER = "Link another account"
    EXPIRE = "let it expire"
    RESTART = "begin again"
    FUMBLE = "press all buttons"


def new_account() -> Account:
    """Return a Plex account that nobody else has."""
    number = next(_accounts)
    return replace(ALICE, id=number, uuid=f"{number:016x}", username=f"viewer{number}")


@dataclass(eq=False)
class Member:
    """One person with a goal; `watch` is told before each step."""

    witness: Witness
    name: str
    goal: Goal
    closed: bool = False
    patience_seconds: float = IMPATIENT_SECONDS
    watch: Callable[[Step], None] = lambda _: None
    accounts: list[Account] = field(default_factory=list)
    done: set[Step] = field(default_factory=set)
    commands: list[Interaction] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.user = self.place.join(self.name)
        self.user.dms_closed = 50007 if self.closed else None
        self.accounts = [KID] if self.goal is Goal.REFUSE else [new_account(), new_account()]
        self.first_code: str | None = None
        self._came_after = len(self.place.discord.messages)

    @property
    def place(self) -> Deployment:
        """Where it happens."""
        return self.witness.place

    def messages(self) -> list[Message]:
        """Return all that the member sees, oldest first."""
        return [one for one in self.place.discord.messages[self._came_after :] if self._sees(one)]

    def _sees(self, message: Message) -> bool:
        recipient = self.place.discord.channels[message.channel_id].recipient
        return message.visible_to(self.user) and (recipient is self.user or message.ephemeral_for == self.user.id)

    def card(self) -> Message | None:
        """Return the newest card of an attempt."""
        cards = [one for one in self.messages() if attempt_of(one) is not None or says(one) in HAS_NO_ATTEMPT]
        return cards[-1] if cards else None

    def state(self) -> str | None:
        """Return what the newest card tells."""
        card = self.card()
        return None if card is None else says(card)

    def has_arrived(self) -> bool:
        """Tell whether the goal is in sight."""
        state = self.state()
        wanted = {
            Goal.CANCEL: "cancelled",
            Goal.UNDO: "undone",
            Goal.UNLINK: "unlinked",
            Goal.REFUSE: "refused",
        }.get(self.goal, "linked")
        needed = {
            Goal.RENEW: {Step.NEW},
            Goal.ASK_TWICE: {Step.TYPE_AGAIN},
            Goal.LET_EXPIRE: {Step.EXPIRE},
            Goal.FUMBLE: {Step.FUMBLE},
            Goal.REPLACE: {Step.ANOTHER},
        }.get(self.goal, set())
        return state == wanted and needed <= self.done and self._is_last_account()

    def _is_last_account(self) -> bool:
        card = self.card()
        if self.goal is not Goal.REPLACE or card is None:
            return True
        return self.accounts[1].username in card.text

    async def live(self) -> None:
        """Do one step after the other until the goal is in sight."""
        while not self.has_arrived():
            before = self._view()
            try:
                await self._step()
            except (NotPossibleError, CodeError):
                await asyncio.sleep(0.1)  # no bot is there, or the card changed under the member's hand
                continue
            await self._until_news(before)

    def _view(self) -> object:
        return [(one.id, one.edits) for one in self.messages() if not one.loading]

    async def _until_news(self, before: object) -> None:
        try:
            async with asyncio.timeout(self.patience_seconds), self.place.discord.condition:
                await self.place.discord.condition.wait_for(lambda: self._view() != before)
        except TimeoutError:
            return

    async def _step(self) -> None:
        card = self.card()
        match self.state():
            case None:
                await self._type(Step.TYPE)
            case "pending" if card is not None:
                await self._wait_or_act(card)
            case "linked" if card is not None:
                await self._after_the_link(card)
            case "requested" | "approved":
                pass
            case _ if card is not None:
                await self._press(card, Step.RESTART)

    async def _wait_or_act(self, card: Message) -> None:
        """Do what the goal asks for while there is a code."""
        self.first_code = self.first_code or code_on(card)
        is_first = code_on(card) == self.first_code
        if self.goal is Goal.CANCEL:
            await self._press(card, Step.CANCEL)
        elif self.goal is Goal.RENEW and is_first:
            await self._press(card, Step.NEW)
        elif self.goal is Goal.ASK_TWICE and Step.TYPE_AGAIN not in self.done:
            await self._type(Step.TYPE_AGAIN)
        elif self.goal is Goal.LET_EXPIRE and is_first:
            self._expire(card)
        elif self.goal is Goal.FUMBLE and is_first:
            await self._fumble(card)
        else:
            await self._approve(card)

    async def _after_the_link(self, card: Message) -> None:
        if self.goal is Goal.UNDO:
            await self._press(card, Step.UNDO)
        elif self.goal is Goal.UNLINK:
            await self._unlink()
        elif self.goal is Goal.REPLACE:
            await self._ask_for_another()
        else:  # the approval was faster than the member
            self.goal = Goal.LINK

    async def _unlink(self) -> None:
        questions = [one for one in self.messages() if "## Unlink your Plex account?" in one.text]
        if questions:
            await self._press(questions[-1], Step.UNLINK)
        else:
            await self._type(Step.ASK_TO_UNLINK)

    async def _ask_for_another(self) -> None:
        offers = [one for one in self.messages() if Step.ANOTHER in dict(one.buttons)]
        if offers:
            await self._press(offers[-1], Step.ANOTHER)
        else:
            await self._type(Step.TYPE_AGAIN)

    async def _type(self, step: Step) -> None:
        self.watch(step)
        command = "plexunlink" if step is Step.ASK_TO_UNLINK else "plexlink"
        self.commands.append(await self.place.discord.slash(self.user, command, guild=self.place.guild))
        self.done.add(step)

    async def _approve(self, card: Message) -> None:
        code = code_on(card)
        if self.place.plex.pin(code or "").token is None:
            self.watch(Step.APPROVE)
            self.witness.approve(card, self.accounts[-1 if Step.ANOTHER in self.done else 0])
            self.done.add(Step.APPROVE)
        await self._press(card, Step.CHECK)

    async def _fumble(self, card: Message) -> None:
        """Approve and press everything: all presses but the first come too late for what they say."""
        if self.place.plex.pin(code_on(card) or "").token is None:
            self.witness.approve(card, self.accounts[0])
        self.witness.fumbling.add(self.user.id)
        self.done.add(Step.FUMBLE)
        steps = random.sample([Step.CHECK, Step.NEW, Step.CANCEL], 3)
        await asyncio.gather(*(self._press(card, step) for step in steps))

    def _expire(self, card: Message) -> None:
        self.watch(Step.EXPIRE)
        code = code_on(card) or ""
        self.witness.expired.add(code)
        self.place.plex.expire(code)
        self.done.add(Step.EXPIRE)

    async def _press(self, card: Message, step: Step) -> None:
        """Press a button, or where the card has only one, that one."""
        self.watch(step)
        if step in {Step.CANCEL, Step.NEW}:
            self.witness.given_up.add(attempt_of(card) or "")
        label = card.buttons[0][0] if step is Step.RESTART else step
        await self.place.discord.click(self.user, card, label=label)
        self.done.add(step)

    def is_answered(self) -> bool:
        """Tell whether the last command has an answer."""
        return bool(self.commands) and self.commands[-1].state is InteractionState.ANSWERED
