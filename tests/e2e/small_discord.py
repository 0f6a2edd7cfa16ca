"""A small Discord on loopback: gateway and REST API on one port, for tests that run a real bot against it.

It knows what PlexLink needs and no more: slash commands, buttons, direct messages, ephemeral answers, files.
It outlives the bots that connect: one that was killed and started again meets the same messages.

    async with SmallDiscord() as discord:
        alice = discord.add_user("alice")
        guild = discord.add_guild("Film club", [alice])
        ...  # start a bot with discord.token whose REST base is discord.api_url
        await discord.wait_ready()
        interaction = await discord.slash(alice, "plexlink", guild=guild)
        card = await discord.until(lambda: next(iter(discord.dm(alice)), None), what="the card")
        await discord.click(alice, card, label="Cancel")

What members do is here; the state is in `small_discord_model`, the answers in `small_discord_rest` and
`small_discord_gateway`. Where it differs from Discord: no rate limits, no permissions, nothing is told of
messages, selects and modals cannot be used, and a file which no component shows is refused.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

from aiohttp import web

from small_discord_contract import contract
from small_discord_gateway import Gateway
from small_discord_model import (
    MANAGE_ROLES,
    Channel,
    Fault,
    Guild,
    Hold,
    Interaction,
    InteractionState,
    InteractionType,
    Json,
    Message,
    Request,
    Role,
    User,
    World,
)
from small_discord_payloads import guild_json, interaction_json
from small_discord_rest import API, Rest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from types import TracebackType

__all__ = [
    "Channel",
    "Guild",
    "Interaction",
    "InteractionState",
    "InteractionType",
    "Message",
    "NotPossibleError",
    "Request",
    "SmallDiscord",
    "User",
]

T = TypeVar("T")

LINK_BUTTON = 5
RESUMABLE, SERVICE_RESTART = 4000, 1012
REQUESTS_SHOWN = 15


class NotPossibleError(Exception):
    """What a member of the real Discord could not do either, with the reason."""


def utc_now() -> datetime:
    """Return the time of the host's clock."""
    return datetime.now(UTC)


class SmallDiscord(World):
    """A Discord with one bot, to be used as an asynchronous context manager.

    `now` is the clock of everything that Discord dates or lets expire. With a certificate all is over TLS.
    The port is a free one, which stays the same when the server is stopped and started again.
    """

    def __init__(
        self,
        *,
        token: str = "MTA.small.discord",  # noqa: S107  # opens nothing but this
        now: Callable[[], datetime] = utc_now,
        certificate: Path | None = None,
    ) -> None:
        bot_user = User(id=0, name="PlexLink", is_bot=True)
        super().__init__(token=token, bot_user=bot_user, application_id=0, now=now)
        bot_user.id = self.application_id = self.snowflake()
        self.users[bot_user.id] = bot_user
        self._port = 0
        self._certificate = certificate
        self._runner: web.AppRunner | None = None
        self._gateway = Gateway(self)
        self._rest = Rest(self, self._gateway)

    # The server

    async def start(self) -> None:
        """Listen on loopback."""
        app = web.Application()
        self._rest.add_routes(app)
        app.router.add_get("/gateway", self._gateway.accept)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        tls = None
        if self._certificate is not None:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(self._certificate)
        await web.TCPSite(runner, "127.0.0.1", self._port, ssl_context=tls).start()
        self._runner = runner
        self._port = runner.addresses[0][1]
        self.origin = f"{'http' if tls is None else 'https'}://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        """Close all connections; what happened is kept, and `start` continues with it."""
        self.stalled_gateway = False
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await self._gateway.close_all(SERVICE_RESTART)
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if kind is None:
            assert not self.violations, "Discord's description of its API differs:\n" + "\n".join(self.violations)

    @property
    def api_url(self) -> str:
        """The REST base, to be given to the bot (`discord.http.Route.BASE`)."""
        return self.origin + API

    @property
    def gateway_url(self) -> str:
        """The address that `/gateway/bot` answers (`DiscordWebSocket.DEFAULT_GATEWAY`)."""
        return self._gateway.url

    # The gateway

    @property
    def identified(self) -> int:
        """How many sessions have identified and were made ready since the beginning."""
        return self._gateway.identified

    @property
    def resumed(self) -> int:
        """How many sessions were resumed since the beginning."""
        return self._gateway.resumed

    @property
    def connected(self) -> int:
        """How many sessions have a connection now."""
        return len(self._gateway.connected())

    @property
    def refuse_gateway(self) -> bool:
        """Whether the gateway answers 503 instead of a websocket."""
        return self._gateway.refuses

    @refuse_gateway.setter
    def refuse_gateway(self, refuse: bool) -> None:
        self._gateway.refuses = refuse

    @property
    def stalled_gateway(self) -> bool:
        """Whether bots that connect are kept waiting at the gateway's door."""
        return not self._gateway.admits.is_set()

    @stalled_gateway.setter
    def stalled_gateway(self, stalled: bool) -> None:
        if stalled:
            self._gateway.admits.clear()
        else:
            self._gateway.admits.set()

    async def drop_gateway(self) -> None:
        """Close all websockets with a code that lets the bot resume its session."""
        await self._gateway.close_all(RESUMABLE)

    async def reconnect_gateway(self) -> None:
        """Ask every bot to reconnect and resume (opcode 7)."""
        await self._gateway.ask_to_reconnect()

    async def invalidate_gateway(self, *, resumable: bool = False) -> None:
        """Call all sessions invalid (opcode 9): bots must identify again, or may resume if they can be resumed."""
        await self._gateway.invalidate(resumable=resumable)

    @property
    def heartbeat_seconds(self) -> float:
        """How often bots that connect from now on are told to send a heartbeat."""
        return self._gateway.heartbeat_seconds

    @heartbeat_seconds.setter
    def heartbeat_seconds(self, seconds: float) -> None:
        self._gateway.heartbeat_seconds = seconds

    @property
    def silent_gateway(self) -> bool:
        """Whether heartbeats are not acknowledged."""
        return self._gateway.is_silent

    @silent_gateway.setter
    def silent_gateway(self, silent: bool) -> None:
        self._gateway.is_silent = silent

    async def wait_ready(self, sessions: int = 1, timeout: float = 180.0) -> None:  # noqa: ASYNC109  # as `until`
        """Wait until `sessions` sessions have identified since the beginning and the newest is connected.

        After a restart of the bot that is one more than before it.
        """
        gateway = self._gateway

        def ready() -> bool:
            newest = gateway.sessions[-1] if gateway.sessions else None
            return gateway.identified >= sessions and newest is not None and newest.connection is not None

        await self.until(ready, what=f"{sessions} ready gateway session(s)", timeout=timeout)

    # The people and the places

    def add_user(self, name: str) -> User:
        """Let somebody join Discord under a name that nobody else has."""
        if any(user.name == name for user in self.users.values()):
            raise NotPossibleError(f"There is a user {name!r} already")
        user = User(id=self.snowflake(), name=name)
        self.users[user.id] = user
        return user

    def add_guild(self, name: str, members: Iterable[User]) -> Guild:
        """Found a guild with one channel and the bot in it; bots are told when they next identify."""
        people = list(members)
        guild_id = self.snowflake()
        channel = Channel(id=self.snowflake(), name="general", guild_id=guild_id)
        owner_id = people[0].id if people else self.bot_user.id
        guild = Guild(
            guild_id,
            name,
            owner_id,
            channel,
            people,
            created_at=self.now(),
            bot_role=Role(self.snowflake(), self.bot_user.name, position=2, permissions=MANAGE_ROLES),
            member_role=Role(self.snowflake(), "Plex", position=1),
        )
        guild.roles_of[self.bot_user.id] = {guild.bot_role.id}
        self.channels[channel.id] = channel
        self.guilds[guild.id] = guild
        return guild

    async def kick_bot(self, guild: Guild) -> None:
        """Let a server lose the bot, and with it the commands that it has there."""
        del self.guilds[guild.id]
        self.guild_commands.pop(guild.id, None)
        await self._gateway.dispatch("GUILD_DELETE", {"id": str(guild.id)})

    async def invite_bot(self, guild: Guild) -> None:
        """Let the bot come to a server."""
        self.guilds[guild.id] = guild
        joined = guild_json(guild, self.bot_user)
        del joined["unavailable"]  # it is there where a server comes back from an outage
        await self._gateway.dispatch("GUILD_CREATE", joined)

    def dm(self, user: User) -> list[Message]:
        """Return what stands in the bot's DM with `user`, oldest first, without ephemeral answers."""
        return self.lasting(self.dm_channel(user).id)

    # What members do

    async def slash(
        self, user: User, name: str, *, guild: Guild | None = None, while_away: bool = False
    ) -> Interaction:
        """Type a slash command in a guild's channel, or in the bot's DM.

        While the bot is away, Discord keeps what it will hear of when it resumes; the member sees no difference.

        Raises:
            NotPossibleError: the command is not offered there, the user is not, or no bot is connected.
        """
        command = (self.guild_commands.get(guild.id, {}) if guild else {}).get(name) or self.commands.get(name)
        context = 0 if guild else 1
        if command is None or (command["contexts"] is not None and context not in command["contexts"]):
            place = guild.name if guild else "the bot's DM"
            raise NotPossibleError(f"/{name} is not offered in {place}; registered: {sorted(self.commands)}")
        if guild is not None and user not in guild.members:
            raise NotPossibleError(f"{user.name} is not a member of {guild.name}")
        channel = guild.channel if guild else self.dm_channel(user)
        data: Json = {key: command[key] for key in ("id", "name", "type")}
        return await self._interact(InteractionType.COMMAND, user, channel, data, while_away=while_away)

    async def click(
        self,
        user: User,
        message: Message,
        *,
        label: str | None = None,
        custom_id: str | None = None,
        while_away: bool = False,
    ) -> Interaction:
        """Press a button, named by its label or its custom id; see `slash` for `while_away`.

        Raises:
            NotPossibleError: the user does not see the message, or there is no such button to press.
        """
        channel = self.channels[message.channel_id]
        here = [channel.recipient] if channel.recipient else self.guilds[channel.guild_id or 0].members
        if user not in here or not message.visible_to(user):
            raise NotPossibleError(f"{user.name} does not see {message}")
        button = _button(message, label, custom_id)
        data = {"id": button["id"], "custom_id": button["custom_id"], "component_type": button["type"]}
        return await self._interact(InteractionType.COMPONENT, user, channel, data, message, while_away=while_away)

    async def _interact(
        self,
        kind: InteractionType,
        user: User,
        channel: Channel,
        data: Json,
        message: Message | None = None,
        *,
        while_away: bool,
    ) -> Interaction:
        if not (self._gateway.sessions if while_away else self._gateway.connected()):
            raise NotPossibleError("No bot is connected to the gateway")
        interaction = self.interact(kind, user, channel, message)
        interaction.event = interaction_json(self, interaction, data)
        self._hold_to_contract(interaction.event)
        await self.tell(interaction)
        return interaction

    async def tell(self, interaction: Interaction, **changes: Any) -> None:
        """Tell the bot of an interaction, once more if it knows; `changes` replace members of the event."""
        await self._gateway.dispatch("INTERACTION_CREATE", interaction.event | changes)
        await self.changed()

    def _hold_to_contract(self, event: Json) -> None:
        """Check the parts of an interaction that Discord's description names."""
        described = contract()
        for name, schema in (("message", "MessageResponse"), ("user", "UserResponse")):
            if described is not None and name in event:
                self.violated(described.thing(schema, event[name]))

    # Waiting

    async def until(self, predicate: Callable[[], T | None], *, what: str, timeout: float = 180.0) -> T:  # noqa: ASYNC109
        """Wait until `predicate` returns something true, and return it; asked whenever something happens.

        Raises:
            AssertionError: it did not within `timeout` seconds; the text names `what` and the last requests.
        """
        try:
            async with asyncio.timeout(timeout), self.condition:
                found = await self.condition.wait_for(predicate)
        except TimeoutError:
            requests = "\n".join(f"  {request}" for request in self.requests[-REQUESTS_SHOWN:]) or "  none"
            raise AssertionError(f"{what}: not within {timeout} s. The last requests:\n{requests}") from None
        return found  # type: ignore[return-value]  # wait_for is typed as if every predicate returned a bool

    # Faults

    def fail(
        self,
        method: str,
        path_glob: str,
        status: int,
        code: int = 0,
        times: int = 1,
        *,
        before: bool = True,
        headers: dict[str, str] | None = None,
        user: User | None = None,
    ) -> Fault:
        """Answer the next `times` matching requests with an error; status 0 cuts the connection.

        With a `user` only requests about this member are meant: the answers to their interactions, their messages.

        `path_glob` is matched against the path behind `/api/v10`; `*` matches slashes too. `before` is False
        where Discord does what was asked and only the answer is lost. `Retry-After` is repeated in the body;
        without `Via` discord.py takes a 429 for Cloudflare's.
        """
        fault = Fault(method, path_glob, status, code, times, before, dict(headers or {}), user)
        self.faults.append(fault)
        return fault

    def hold(self, method: str, path_glob: str, *, before: bool = True, user: User | None = None) -> Hold:
        """Keep the next matching request waiting, before or after its work is done, until it is let go."""
        hold = Hold(method, path_glob, before, user=user)
        self.holds.append(hold)
        return hold


def _button(message: Message, label: str | None, custom_id: str | None) -> Json:
    """Return the one button that is meant, if it can be pressed."""
    for button in message.button_parts():
        if label in {None, button.get("label")} and custom_id in {None, button.get("custom_id")}:
            if button["style"] == LINK_BUTTON:
                raise NotPossibleError(f"{label} is a link to {button['url']}: pressing it tells the bot nothing")
            if button.get("disabled"):
                raise NotPossibleError(f"The button {button.get('label')!r} is disabled")
            return button
    raise NotPossibleError(f"No button {label or custom_id!r}; there are {message.buttons}")
