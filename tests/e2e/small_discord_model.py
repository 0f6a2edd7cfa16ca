"""What the small Discord knows: plain dataclasses, and nothing that touches a socket.

`World` is the whole state. It outlives every bot that connects: one that was killed and started again meets
the same members, channels, messages and open interactions.
"""

from __future__ import annotations

import asyncio
import mimetypes
import re
import secrets
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Json = dict[str, Any]

EPHEMERAL = 1 << 6
LOADING = 1 << 7
COMPONENTS_V2 = 1 << 15
MANAGE_ROLES = 1 << 28

DISCORD_EPOCH = datetime(2015, 1, 1, tzinfo=UTC)
ANSWER_WITHIN = timedelta(seconds=3)
TOKEN_LIVES = timedelta(minutes=15)
NONCE_REMEMBERED = timedelta(minutes=5)


class ComponentType(IntEnum):
    """The kinds of components that a message may carry, by Discord's numbers."""

    ACTION_ROW = 1
    BUTTON = 2
    SECTION = 9
    TEXT_DISPLAY = 10
    THUMBNAIL = 11
    MEDIA_GALLERY = 12
    FILE = 13
    SEPARATOR = 14
    CONTAINER = 17


class InteractionType(IntEnum):
    """What a member did, by Discord's numbers."""

    COMMAND = 2
    COMPONENT = 3


class InteractionState(StrEnum):
    """How far the bot has answered."""

    UNANSWERED = "unanswered"
    DEFERRED = "deferred"
    DEFERRED_UPDATE = "deferred update"
    ANSWERED = "answered"


class DiscordError(Exception):
    """An answer that is no success: HTTP status, Discord's code and sentence, and what is wrong in a form."""

    def __init__(self, status: int, code: int, message: str, errors: Json | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.body: Json = {"message": message, "code": code}
        if errors is not None:
            self.body["errors"] = errors


@dataclass(eq=False)
class User:
    """A person, or the bot itself."""

    id: int
    name: str
    is_bot: bool = False
    locale: str = "en-US"
    dms_closed: int | None = None
    """None: the bot may write. 50007, 50278 or 40003: sending to the DM fails with that code."""


@dataclass(eq=False)
class Channel:
    """A guild's text channel, or the bot's DM with one user."""

    id: int
    name: str = ""
    guild_id: int | None = None
    recipient: User | None = None


@dataclass(frozen=True)
class Role:
    """A role of a guild; whichever has the higher position stands above."""

    id: int
    name: str
    position: int
    permissions: int = 0


@dataclass(eq=False)
class Guild:
    """A server with one text channel, the bot's role, and below it one for members."""

    id: int
    name: str
    owner_id: int
    channel: Channel
    members: list[User]
    created_at: datetime
    bot_role: Role
    member_role: Role
    roles_of: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Who has which role, by the ids of both."""


@dataclass(eq=False)
class Attachment:
    """A file that was uploaded with a message."""

    id: int
    filename: str
    content: bytes = field(repr=False)
    url: str
    description: str | None = None


@dataclass(eq=False)
class Message:
    """A message, also after it was deleted."""

    id: int
    channel_id: int
    author_id: int
    created_at: datetime
    content: str = field(default="", repr=False)
    embeds: list[Json] = field(default_factory=list, repr=False)
    components: list[Json] = field(default_factory=list, repr=False)
    attachments: list[Attachment] = field(default_factory=list)
    flags: int = 0
    nonce: str | int | None = None
    edits: int = 0
    edited_at: datetime | None = None
    earlier: list[Message] = field(default_factory=list, repr=False)
    """What it was before each edit."""
    deleted: bool = False
    ephemeral_for: int | None = None
    interaction: Interaction | None = field(default=None, repr=False)

    @property
    def text(self) -> str:
        """All that the message says, in reading order, a line for each piece."""
        displays = (part["content"] for part in walk(self.components) if part["type"] == ComponentType.TEXT_DISPLAY)
        return "\n".join(filter(None, (self.content, *displays)))

    @property
    def buttons(self) -> list[tuple[str | None, str]]:
        """Label and custom id (or the URL of a link) of every button, in reading order."""
        return [(part.get("label"), part.get("custom_id") or part.get("url", "")) for part in self.button_parts()]

    @property
    def files(self) -> dict[str, bytes]:
        """The uploaded files by name."""
        return {attachment.filename: attachment.content for attachment in self.attachments}

    @property
    def loading(self) -> bool:
        """Whether members see only "is thinking"."""
        return bool(self.flags & LOADING)

    def button_parts(self) -> list[Json]:
        """Every button as the bot described it."""
        return [part for part in walk(self.components) if part["type"] == ComponentType.BUTTON]

    def visible_to(self, user: User) -> bool:
        """Whether `user` may see it, if the channel is one of theirs."""
        return not self.deleted and self.ephemeral_for in {None, user.id}


@dataclass(eq=False)
class Interaction:
    """A slash command or a pressed button, and what became of it."""

    id: int
    token: str = field(repr=False)
    type: InteractionType
    user: User
    created_at: datetime
    channel: Channel
    guild: Guild | None = None
    message: Message | None = None
    """The message whose button was pressed."""
    state: InteractionState = InteractionState.UNANSWERED
    response: Message | None = None
    """What `@original` means, also while it is only "thinking"."""
    followups: list[Message] = field(default_factory=list)
    event: Json = field(default_factory=dict, repr=False)
    """What the gateway told the bot."""

    @property
    def expires_at(self) -> datetime:
        """When the token dies."""
        return self.created_at + TOKEN_LIVES

    @property
    def answer(self) -> Message | None:
        """The answer that the member sees, None while there is only "thinking" or nothing."""
        if self.state is not InteractionState.ANSWERED or self.response is None or self.response.deleted:
            return None
        return self.response

    def reachable(self) -> list[Message]:
        """Return the messages which this interaction's token may read, edit and delete."""
        return [message for message in (self.response, *self.followups) if message is not None and not message.deleted]


@dataclass
class Request:
    """One request to the API. Tokens in the path are blotted out and the body is not printed."""

    method: str
    path: str
    status: int | None = None
    """None while it is being answered, 0 where the connection was cut."""
    body: Json | list[Json] | None = field(default=None, repr=False)
    at: datetime | None = None
    user: User | None = field(default=None, repr=False)
    """Whom it is about, if it is about one member."""


@dataclass
class Fault:
    """An answer that is forced on the next matching requests."""

    method: str
    path_glob: str
    status: int
    code: int = 0
    times: int = 1
    before: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    user: User | None = None
    """Whose requests are meant; None: everybody's."""

    def hits(self, method: str, path: str, user: User | None) -> bool:
        """Whether this request is to be failed."""
        is_meant = self.user in {None, user}
        return is_meant and self.times > 0 and fnmatchcase(method, self.method) and fnmatchcase(path, self.path_glob)


@dataclass(eq=False)
class Hold:
    """The next matching request is kept waiting, before its work is done or after it, until it is let go."""

    method: str
    path_glob: str
    before: bool = True
    has_caught: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    is_taken: bool = False
    user: User | None = None

    def hits(self, method: str, path: str, user: User | None) -> bool:
        """Whether this is the request to be kept."""
        is_meant = not self.is_taken and self.user in {None, user}
        return is_meant and fnmatchcase(method, self.method) and fnmatchcase(path, self.path_glob)

    async def caught(self, *, timeout: float = 180.0) -> None:  # noqa: ASYNC109  # as `until`
        """Wait until there is a request to keep, and its work is done where it is held after it."""
        async with asyncio.timeout(timeout):
            await self.has_caught.wait()

    def release(self) -> None:
        """Let the request go on, if there is one."""
        self.released.set()


@dataclass(kw_only=True)
class World:
    """Everything there is. Whoever changes something awaits `changed()` afterwards."""

    token: str = field(repr=False)
    bot_user: User
    application_id: int
    now: Callable[[], datetime]
    origin: str = ""
    users: dict[int, User] = field(default_factory=dict)
    guilds: dict[int, Guild] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    """All that were posted, in that order."""
    interactions: list[Interaction] = field(default_factory=list)
    commands: dict[str, Json] = field(default_factory=dict)
    """What `/` offers everywhere, by name."""
    guild_commands: dict[int, dict[str, Json]] = field(default_factory=dict)
    """What it offers besides in a server, by the server's id."""
    syncs: int = 0
    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    """Where requests, or our own answers, differ from Discord's description of its API."""
    condition: asyncio.Condition = field(default_factory=asyncio.Condition, repr=False)
    last_id: int = 0
    _posted_in: defaultdict[int, list[Message]] = field(default_factory=lambda: defaultdict(list), repr=False)
    _dms: dict[int, Channel] = field(default_factory=dict, repr=False)
    _by_token: dict[str, Interaction] = field(default_factory=dict, repr=False)

    def snowflake(self) -> int:
        """Return a new id, larger than all before it, that carries the time as Discord's do."""
        milliseconds = (self.now() - DISCORD_EPOCH) // timedelta(milliseconds=1)
        self.last_id = max(self.last_id + 1, milliseconds << 22)
        return self.last_id

    async def changed(self) -> None:
        """Wake everybody who waits for something to happen."""
        async with self.condition:
            self.condition.notify_all()

    def dm_channel(self, user: User) -> Channel:
        """Return the bot's DM with `user`, which is opened if need be."""
        if user.id not in self._dms:
            channel = Channel(id=self.snowflake(), recipient=user)
            self.channels[channel.id] = self._dms[user.id] = channel
        return self._dms[user.id]

    def post(self, message: Message) -> None:
        """Put a message into its channel."""
        self.messages.append(message)
        self._posted_in[message.channel_id].append(message)

    def lasting(self, channel_id: int) -> list[Message]:
        """Return the messages that stand in a channel for everyone there, oldest first."""
        return [
            message for message in self._posted_in[channel_id] if not message.deleted and message.ephemeral_for is None
        ]

    def interact(
        self, kind: InteractionType, user: User, channel: Channel, message: Message | None = None
    ) -> Interaction:
        """Record that a member did something."""
        interaction = Interaction(
            id=self.snowflake(),
            token=secrets.token_urlsafe(96),
            type=kind,
            user=user,
            created_at=self.now(),
            channel=channel,
            guild=self.guilds[channel.guild_id] if channel.guild_id else None,
            message=message,
        )
        self.interactions.append(interaction)
        self._by_token[interaction.token] = interaction
        return interaction

    def interaction_of(self, token: str) -> Interaction | None:
        """Return the interaction that has this token, if there is one."""
        return self._by_token.get(token)

    def concerned(self, path: str, payload: Any) -> User | None:
        """Return the one member whom a request is about: by interaction, by direct messages, or by opening them."""
        place, _, key = path.removeprefix("/").partition("/")
        if place in {"interactions", "webhooks"}:
            interaction = self.interaction_of(key.partition("/")[2].partition("/")[0])
            return interaction.user if interaction else None
        if place == "guilds" and (found := re.fullmatch(r"\d+/members/(\d+)(?:/.*)?", key)):
            return self.users.get(int(found[1]))
        if place == "channels" and (channel := self.channels.get(int(key.partition("/")[0] or 0))):
            return channel.recipient
        if path == "/users/@me/channels" and isinstance(payload, dict):
            return self.users.get(int(payload.get("recipient_id") or 0))
        return None

    def violated(self, complaints: Iterable[str]) -> None:
        """Note complaints, each once."""
        self.violations += [complaint for complaint in complaints if complaint not in self.violations]

    def take_fault(self, method: str, path: str, user: User | None) -> Fault | None:
        """Return the fault that this request must suffer, and count it."""
        fault = next((fault for fault in self.faults if fault.hits(method, path, user)), None)
        if fault is not None:
            fault.times -= 1
        return fault

    def take_hold(self, method: str, path: str, user: User | None) -> Hold | None:
        """Return the hold that keeps this request waiting; it keeps no other."""
        hold = next((hold for hold in self.holds if hold.hits(method, path, user)), None)
        if hold is not None:
            hold.is_taken = True
        return hold


def walk(components: Iterable[Json]) -> Iterator[Json]:
    """Go through components and all that is nested in them, in reading order."""
    for component in components:
        yield component
        yield from walk(component.get("components") or ())
        if accessory := component.get("accessory"):
            yield from walk([accessory])


def content_type(filename: str) -> str:
    """Guess a file's type from its name, as Discord does."""
    return mimetypes.guess_type(filename)[0] or "application/octet-stream"


def media_in(components: Iterable[Json]) -> Iterator[Json]:
    """Go through all pictures and files that components show."""
    for component in walk(components):
        yield from (item["media"] for item in component.get("items") or ())
        yield from (component[key] for key in ("media", "file") if key in component)
