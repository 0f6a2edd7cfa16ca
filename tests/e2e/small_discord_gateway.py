"""The small Discord's gateway: websockets, and sessions that can be resumed."""

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

DISPATCH, HEARTBEAT, IDENTIFY, RESUME, RECONNECT, INVALID_SESSION, HELLO, HEARTBEAT_ACK = 0, 1, 2, 6, 7, 9, 10, 11
UNKNOWN_OPCODE, AUTHENTICATION_FAILED, DISALLOWED_INTENTS = 4001, 4004, 4014
LEAVES_FOR_GOOD = {1000, 1001}
HEARTBEAT_SECONDS = 41.25
API_VERSION = 10

GUILDS, GUILD_MEMBERS = 1 << 0, 1 << 1


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
    intents: int
    shard: tuple[int, int] = (0, 1)
    """Its number, and how many there are."""
    events: list[Json] = field(default_factory=list, repr=False)
    connection: Connection | None = field(default=None, repr=False)

    def hears_of(self, guild_id: int | None) -> bool:
        """Tell whether events of a guild come to it; those of direct messages come to the first shard."""
        number, count = self.shard
        return number == (0 if guild_id is None else (guild_id >> 22) % count)

    @property
    def sequence(self) -> int:
        """The number of the last event."""
        return len(self.events)

    async def dispatch(self, name: str, data: Json) -> None:
        """Send an event, or keep it until the bot resumes."""
        event = {"op": DISPATCH, "t": name, "s": self.sequence + 1, "d": data}
        self.events.append(event)
        if self.connection is not None:
            await self.connection.send(event)


class Gateway:
    """Accepts the bots' websockets and tells them what happens."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.refuses = False
        self.admits = asyncio.Event()
        self.admits.set()
        self.is_silent = False
        self.heartbeat_seconds = HEARTBEAT_SECONDS
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

    async def dispatch(self, name: str, data: Json) -> None:
        """Tell the sessions whose shard it is, also those that may still resume."""
        guild_id = data["id"] if name.startswith("GUILD_") else data.get("guild_id")
        for session in list(self.sessions):
            if session.hears_of(None if guild_id is None else int(guild_id)):
                await session.dispatch(name, data)

    async def close_all(self, code: int) -> None:
        """Close every connection; the sessions stay."""
        await asyncio.gather(*(connection.close(code) for connection in self._let_go()))
        await self._world.changed()

    async def ask_to_reconnect(self) -> None:
        """Send opcode 7 to everybody."""
        for session in self.connected():
            if session.connection is not None:
                await session.connection.send({"op": RECONNECT, "d": None})

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

    async def _receive(self, connection: Connection, text: str) -> None:
        payload: Json = json.loads(text)
        op = payload["op"]
        if op == HEARTBEAT:
            if not self.is_silent:
                await connection.send({"op": HEARTBEAT_ACK})
        elif op == IDENTIFY:
            await self._identify(connection, payload["d"])
        elif op == RESUME:
            await self._resume(connection, payload["d"])
        else:
            await connection.close(UNKNOWN_OPCODE, f"The small Discord does not know opcode {op}.")

    async def _identify(self, connection: Connection, data: Json) -> None:
        if data["token"] != self._world.token:
            await connection.close(AUTHENTICATION_FAILED, "Authentication failed.")
        elif data["intents"] & GUILD_MEMBERS:  # nobody has turned it on
            await connection.close(DISALLOWED_INTENTS, "Disallowed intent(s).")
        else:
            number, count = data.get("shard", (0, 1))
            session = Session(secrets.token_hex(16), data["intents"], (number, count), connection=connection)
            self.sessions.append(session)
            await self._make_ready(session)
            self.identified += 1
            await self._world.changed()

    async def _make_ready(self, session: Session) -> None:
        world = self._world
        guilds = [guild for guild in world.guilds.values() if session.hears_of(guild.id)]
        await session.dispatch(
            "READY",
            {
                "v": API_VERSION,
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
                await session.dispatch("GUILD_CREATE", guild_json(guild, world.bot_user))

    async def _resume(self, connection: Connection, data: Json) -> None:
        session = next((session for session in self.sessions if session.id == data["session_id"]), None)
        if data["token"] != self._world.token:
            await connection.close(AUTHENTICATION_FAILED, "Authentication failed.")
        elif session is None:
            await connection.send({"op": INVALID_SESSION, "d": False})
        else:
            missed = session.events[data["seq"] :]
            session.connection = connection
            await connection.send(*missed)
            await session.dispatch("RESUMED", {"_trace": []})
            self.resumed += 1
            await self._world.changed()
