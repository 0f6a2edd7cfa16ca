"""The small Discord's gateway: websockets, sessions that can be resumed, events for the right shard."""

from __future__ import annotations

import asyncio
import json
import secrets
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import ClientConnectionError, WSMsgType, web

from small_discord_payloads import guild_json, own_user_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from small_discord_model import Json, World

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, RESUME, RECONNECT, INVALID_SESSION, HELLO, HEARTBEAT_ACK = (
    0,
    1,
    2,
    3,
    6,
    7,
    9,
    10,
    11,
)
(
    UNKNOWN_ERROR,
    UNKNOWN_OPCODE,
    DECODE_ERROR,
    NOT_AUTHENTICATED,
    AUTHENTICATION_FAILED,
    ALREADY_AUTHENTICATED,
) = range(4000, 4006)
INVALID_SEQUENCE, INVALID_SHARD, INVALID_VERSION = 4007, 4010, 4012
LEAVES_FOR_GOOD = {1000, 1001}
HEARTBEAT_SECONDS = 41.25
API_VERSION = "10"

GUILDS, GUILD_MEMBERS, GUILD_MESSAGES, DIRECT_MESSAGES = 1 << 0, 1 << 1, 1 << 9, 1 << 12


class Connection:
    """One websocket to a bot, with its compression."""

    def __init__(self, socket: web.WebSocketResponse, *, compressed: bool) -> None:
        self._socket = socket
        self._deflate = zlib.compressobj() if compressed else None
        self._lock = asyncio.Lock()

    async def send(self, *payloads: Json) -> None:
        """Send payloads, nothing in between; a bot that is gone is not an error: its session remembers."""
        async with self._lock:
            try:
                for payload in payloads:
                    await self._send_text(json.dumps(payload))
            except ClientConnectionError:
                return

    async def _send_text(self, text: str) -> None:
        if self._deflate is None:
            await self._socket.send_str(text)
        else:
            await self._socket.send_bytes(
                self._deflate.compress(text.encode()) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
            )

    async def close(self, code: int, reason: str = "") -> None:
        """Close with one of the gateway's close codes."""
        await self._socket.close(code=code, message=reason.encode())


@dataclass(eq=False)
class Session:
    """What a bot identified as. It stays when the connection breaks, until the bot leaves for good."""

    id: str
    shard: tuple[int, int]
    intents: int
    events: list[Json] = field(default_factory=list, repr=False)
    connection: Connection | None = field(default=None, repr=False)

    @property
    def sequence(self) -> int:
        """The number of the last event."""
        return len(self.events)

    def hears(self, guild_id: int | None, intent: int) -> bool:
        """Whether events of this guild (None: of a DM) are this session's, and asked for."""
        number, count = self.shard
        home = 0 if guild_id is None else (guild_id >> 22) % count
        return home == number and self.intents & intent == intent

    async def dispatch(self, name: str, data: Json) -> None:
        """Send an event, or keep it until the bot resumes."""
        event = {"op": DISPATCH, "t": name, "s": self.sequence + 1, "d": data}
        self.events.append(event)
        if self.connection is not None:
            await self.connection.send(event)


class Gateway:
    """Accepts the bots' websockets and tells them what happens."""

    def __init__(self, world: World, *, recommended_shards: int = 1) -> None:
        self._world = world
        self.recommended_shards = recommended_shards
        self.refuses = False
        self.admits = asyncio.Event()
        self.admits.set()
        self.is_silent = False
        self.heartbeat_seconds = HEARTBEAT_SECONDS
        self.heartbeats = 0
        self.sessions: list[Session] = []
        self.identified = 0
        self.resumed = 0

    @property
    def url(self) -> str:
        """Where bots connect."""
        return self._world.origin.replace("http", "ws", 1) + "/gateway"

    def connected(self) -> list[Session]:
        """Return the sessions that have a connection now."""
        return [session for session in self.sessions if session.connection is not None]

    async def dispatch(self, name: str, data: Json, *, guild_id: int | None, intent: int = 0) -> None:
        """Tell all sessions whom it concerns, also those that may still resume."""
        for session in list(self.sessions):
            if session.hears(guild_id, intent):
                await session.dispatch(name, data)

    async def about_message(self, name: str, data: Json, *, guild_id: int | None) -> None:
        """Tell of a message to those that asked for messages there."""
        await self.dispatch(
            name, data, guild_id=guild_id, intent=DIRECT_MESSAGES if guild_id is None else GUILD_MESSAGES
        )

    async def close_all(self, code: int) -> None:
        """Close every connection; the sessions stay."""
        await asyncio.gather(*(connection.close(code) for connection in self._let_go()))
        await self._world.changed()

    async def ask_to_reconnect(self) -> None:
        """Send opcode 7 to everybody."""
        for session in self.connected():
            if session.connection is not None:
                await session.connection.send({"op": RECONNECT, "d": None})

    async def ask_for_heartbeat(self) -> None:
        """Send opcode 1 to everybody."""
        for session in self.connected():
            if session.connection is not None:
                await session.connection.send({"op": HEARTBEAT, "d": None})

    async def invalidate(self, *, resumable: bool) -> None:
        """Tell all sessions with opcode 9 that they are invalid; those that cannot be resumed are forgotten."""
        connections = list(self._let_go())
        if not resumable:
            self.sessions = []
        for connection in connections:
            await connection.send({"op": INVALID_SESSION, "d": resumable})

    def _let_go(self) -> Iterable[Connection]:
        for session in self.connected():
            if session.connection is not None:
                yield session.connection
            session.connection = None

    async def accept(self, request: web.Request) -> web.StreamResponse:
        """Serve one websocket for as long as it lasts."""
        if self.refuses:
            return web.Response(status=503, text="upstream connect error")
        await self.admits.wait()
        socket = web.WebSocketResponse(compress=False, max_msg_size=1 << 16)
        await socket.prepare(request)
        connection = Connection(socket, compressed=request.query.get("compress") == "zlib-stream")
        if request.query.get("v") != API_VERSION:
            await connection.close(INVALID_VERSION, "Invalid API version.")
            return socket
        await connection.send({"op": HELLO, "d": {"heartbeat_interval": int(self.heartbeat_seconds * 1000)}})
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await self._receive(connection, message.data)
        await self._lost(connection, for_good=socket.close_code in LEAVES_FOR_GOOD)
        return socket

    async def _lost(self, connection: Connection, *, for_good: bool) -> None:
        for session in self.connected():
            if session.connection is connection:
                session.connection = None
                if for_good:
                    self.sessions.remove(session)
        await self._world.changed()

    def _session_of(self, connection: Connection) -> Session | None:
        return next((session for session in self.sessions if session.connection is connection), None)

    async def _receive(self, connection: Connection, text: str) -> None:
        try:
            payload: Json = json.loads(text)
            op = payload["op"]
        except (ValueError, KeyError):
            await connection.close(DECODE_ERROR, "Error while decoding payload.")
            return
        if op == HEARTBEAT:
            await self._acknowledge(connection)
        elif op == IDENTIFY:
            await self._identify(connection, payload["d"])
        elif op == RESUME:
            await self._resume(connection, payload["d"])
        elif self._session_of(connection) is None:
            await connection.close(NOT_AUTHENTICATED, "Not authenticated.")
        elif op != PRESENCE:
            await connection.close(UNKNOWN_OPCODE, f"The small Discord does not know opcode {op}.")

    async def _acknowledge(self, connection: Connection) -> None:
        self.heartbeats += 1
        if not self.is_silent:
            await connection.send({"op": HEARTBEAT_ACK})
        await self._world.changed()

    async def _identify(self, connection: Connection, data: Json) -> None:
        number, count = data.get("shard") or (0, 1)
        if self._session_of(connection) is not None:
            await connection.close(ALREADY_AUTHENTICATED, "Already authenticated.")
        elif data.get("token") != self._world.token:
            await connection.close(AUTHENTICATION_FAILED, "Authentication failed.")
        elif not 0 <= number < count:
            await connection.close(INVALID_SHARD, "Invalid shard.")
        else:
            session = Session(secrets.token_hex(16), (number, count), data["intents"], connection=connection)
            self.sessions.append(session)
            await self._make_ready(session)
            self.identified += 1
            await self._world.changed()

    async def _make_ready(self, session: Session) -> None:
        world = self._world
        guilds = [guild for guild in world.guilds.values() if session.hears(guild.id, 0)]
        await session.dispatch(
            "READY",
            {
                "v": int(API_VERSION),
                "user": own_user_json(world.bot_user),
                "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
                "session_id": session.id,
                "session_type": "normal",
                "resume_gateway_url": self.url,
                "shard": list(session.shard),
                "application": {"id": str(world.application_id), "flags": 0},
                "private_channels": [],
                "relationships": [],
            },
        )
        if session.intents & GUILDS:
            for guild in guilds:
                members = [world.bot_user, *(guild.members if session.intents & GUILD_MEMBERS else ())]
                await session.dispatch("GUILD_CREATE", guild_json(guild, members))

    async def _resume(self, connection: Connection, data: Json) -> None:
        session = next((session for session in self.sessions if session.id == data["session_id"]), None)
        if data["token"] != self._world.token:
            await connection.close(AUTHENTICATION_FAILED, "Authentication failed.")
        elif session is None:
            await connection.send({"op": INVALID_SESSION, "d": False})
        elif data["seq"] > session.sequence:
            await connection.close(INVALID_SEQUENCE, "Invalid seq.")
        else:
            missed = session.events[data["seq"] :]
            session.connection = connection
            await connection.send(*missed)
            await session.dispatch("RESUMED", {"_trace": []})
            self.resumed += 1
            await self._world.changed()
