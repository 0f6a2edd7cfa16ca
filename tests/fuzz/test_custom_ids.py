"""Custom ids: what we write is what we read, and a forged one does nothing to another member."""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness import Card, a_world
from plexlink.community import Setup
from plexlink.ownership import EVERYBODY, UNREADABLE, RuleChange
from plexlink.store.servers import HANDLE_LENGTH
from plexlink.surface import admin_views, views
from plexlink.surface.admin_views import AdminAction
from plexlink.surface.views import CUSTOM_ID, OF_MEMBERS, Action
from plexlink_bot.sandbox.plex_tv import BOB, Operation, RateLimited

if TYPE_CHECKING:
    from harness import World

subjects = st.from_regex(r"[A-Za-z0-9_-]{1,22}", fullmatch=True)
actions = st.sampled_from(Action)
LONGEST = 100
"""Discord's limit."""


# --- the text ---


@given(action=actions, subject=subjects)
def test_what_is_written_into_a_custom_id_is_read_from_it(action: Action, subject: str) -> None:
    custom_id = views._button("x", action, subject).custom_id
    assert custom_id is not None
    assert len(custom_id) <= LONGEST
    match = CUSTOM_ID.fullmatch(custom_id)
    assert match is not None
    assert (Action(match["action"]), match["subject"]) == (action, subject)


snowflakes = st.none() | st.integers(1, 2**64 - 1)
handles = st.just(EVERYBODY) | st.from_regex(rf"[0-9a-f]{{{HANDLE_LENGTH}}}", fullmatch=True)
changes = st.none() | st.builds(RuleChange, to=handles, instead_of=handles | st.just(UNREADABLE))


@given(action=st.sampled_from(AdminAction), role_id=snowflakes, channel_id=snowflakes, change=changes)
def test_what_is_written_into_the_custom_id_of_an_owners_card_is_read_from_it(
    action: AdminAction, role_id: int | None, channel_id: int | None, change: RuleChange | None
) -> None:
    chosen = Setup(role_id=role_id, audit_channel_id=channel_id)
    custom_id = admin_views._custom_id(action, chosen, change)
    assert len(custom_id) <= LONGEST
    match = admin_views.CUSTOM_ID.fullmatch(custom_id)
    assert match is not None
    assert (AdminAction(match["action"]), admin_views.chosen_in(match)) == (action, chosen)
    assert admin_views.change_in(match) == change


@given(
    st.text("plexadmin:ruleverybodyapp-0123456789abcdefx \n", max_size=LONGEST)
    | st.builds(
        lambda action, rest, end: f"plexadmin:{action}:{rest}{end}",
        st.sampled_from(AdminAction) | st.sampled_from(["", "RULE", "rules", "rule:rule"]),
        st.text("0123456789abcdefxABCDEF:", max_size=70),
        st.sampled_from(["", "\n", ":", " ", "\u0661", "\uff21"]),
    )
)
@example("plexadmin:rule:1:2:0:0123456789abcdef\n")
@example("plexadmin:rule:1:2:0123456789ABCDEF:0")
@example("plexadmin:rule:1:2:x:0")
@example("plexadmin:rule:1:2:0")
@example("plexadmin:rule:1:2:")
@example("plexadmin:rule:\u0661:2")
def test_what_is_read_as_the_custom_id_of_an_owners_card_is_one_that_we_write(custom_id: str) -> None:
    match = admin_views.CUSTOM_ID.fullmatch(custom_id)
    if match is None:
        return
    written = ":".join(filter(None, ("plexadmin", *match.group("action", "role", "channel", "to", "instead_of"))))
    assert custom_id == written
    assert custom_id.isascii()
    assert len(custom_id) <= LONGEST


odd_ids = st.one_of(
    st.text(max_size=LONGEST),
    st.text("plexlink:checknwaudot-_AZ09 \n", max_size=LONGEST),
    st.builds(
        lambda start, action, subject, end: f"{start}:{action}:{subject}{end}",
        st.sampled_from(["plexlink", "PLEXLINK", " plexlink", "\nplexlink", "plexlink:", "plexlinkx", ""]),
        actions | st.sampled_from(["CHECK", "checks", "", "check:cancel", "\u0441heck"]),
        st.text(max_size=24) | subjects,
        st.sampled_from(["", "\n", "\x00", " ", ":", "\u0661", "\uff21", "=", "/", "'", "%"]),
    ),
)


@given(odd_ids)
@example("plexlink:check:A\n")
@example("plexlink:check:" + "A" * 23)
@example("plexlink:check:")
@example("plexlink:check:\u0661")
def test_what_is_read_as_a_custom_id_is_one_that_we_write(custom_id: str) -> None:
    match = CUSTOM_ID.fullmatch(custom_id)  # as discord.py does
    if match is None:
        return
    assert custom_id == f"plexlink:{Action(match['action'])}:{match['subject']}"
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,22}", match["subject"])
    assert custom_id.isascii()
    assert len(custom_id) <= LONGEST


# --- the press ---

NOT_YOURS, GONE = "belongs to somebody else", "too old"
ROUNDS = max(1, settings().max_examples // 500)

# What a member could have seen, or guess: each is a place in the list of ids that `Scene` knows.
targets = st.sampled_from(["pending", "linked", "cancelled", "member", "swapped case", "cut"])
presses = st.lists(
    st.tuples(actions, targets | subjects.map("unknown:".__add__))
    | odd_ids.filter(bool).map(lambda text: (None, text)),
    min_size=6,
    max_size=12,
)


class Scene:
    """Three members with something to lose, and a fourth who presses."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.linked, self.cancelled, self.mallory = (world.join(name) for name in ("linda", "carol", "mallory"))

    async def set(self) -> None:
        world = self.world
        await world.plexlink(self.linked)
        world.approve(BOB)
        await world.advance(6)
        await world.plexlink(self.cancelled)
        await world.press("Cancel", self.cancelled)
        await world.plexlink()
        world.close_dms()
        self.card = (await world.plexlink(self.mallory)).response
        # Plex wants an hour of silence: no question comes due while buttons are pressed, however busy the machine is.
        world.plex.fail(RateLimited(retry_after=3600), calls=Operation.GET_PIN, times=None)
        await world.advance(10)
        world.env.settle_timeout = 10.0
        self.owners = {row["state"]: row["id"] for row in world.rows("attempts") if row["user_id"] != self.mallory.id}

    def custom_id(self, action: Action | None, target: str) -> str:
        if action is None:
            return target
        pending = self.owners["pending"]
        subject = {
            **self.owners,
            "member": str(self.world.alice.id),
            "swapped case": pending.swapcase(),
            "cut": pending[:-1],
        }.get(target, target.removeprefix("unknown:"))
        return f"plexlink:{action}:{subject}"

    def belongings(self) -> list[object]:
        """What the others have, in the database and before their eyes."""
        others = [self.world.alice, self.linked, self.cancelled]
        rows: list[object] = [
            row
            for table in ("attempts", "links", "sign_outs", "notices", "audit")
            for row in self.world.rows(table)
            if row["user_id"] != self.mallory.id
        ]
        return rows + [message.components for member in others for message in self.world.messages(member)]

    async def press(self, custom_id: str) -> Any:
        """Press the one button of mallory's card, which says what we like."""
        stored = self.world.env.backend.get_message(self.card.channel_id, self.card.id)
        (button,) = (part for part in Card(stored).parts if part.get("label") == "Cancel")
        button["custom_id"] = custom_id
        return await self.mallory.click(self.card, label="Cancel")


def expected(action: Action | None, target: str) -> str | None:
    """Return what a press is answered with, or nothing where it starts or shows what is mallory's own."""
    if action in {None, Action.PANEL}:  # a panel is everybody's
        return None
    if target in {"pending", "linked", "cancelled"} or action in OF_MEMBERS:
        return NOT_YOURS
    return None if action is Action.NEW else GONE


async def press_all(presses: list[tuple[Action | None, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with a_world(Path(folder)) as world:
            scene = Scene(world)
            await scene.set()
            before = scene.belongings()
            for action, target in presses:
                result = await scene.press(scene.custom_id(action, target))
                answer = expected(action, target)
                if answer is not None:
                    (reply,) = result.followups
                    assert answer in Card(reply).text
                    assert reply.ephemeral
                assert scene.belongings() == before, (action, target)


EVERYTHING = [
    (action, target)
    for action in Action
    for target in ("pending", "linked", "cancelled", "member", "swapped case", "cut", "unknown:A")
]


@settings(max_examples=ROUNDS)
@given(presses)
@example(EVERYTHING)
def test_whatever_a_member_presses_nobody_else_loses_anything(presses: list[tuple[Action | None, str]]) -> None:
    asyncio.run(press_all(presses))
