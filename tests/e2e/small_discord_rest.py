"""The small Discord's REST API: what a bot needs that answers interactions and writes messages."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TypeAlias

from aiohttp import BodyPartReader, web

import small_discord_messages as messages
from small_discord_contract import contract
from small_discord_messages import Body, Upload
from small_discord_model import ANSWER_WITHIN, EPHEMERAL, DiscordError, Interaction, InteractionState, Request
from small_discord_payloads import (
    application_json,
    callback_json,
    channel_json,
    fetched_guild_json,
    member_json,
    message_json,
    own_user_json,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from small_discord_gateway import Gateway
    from small_discord_model import Channel, Fault, Guild, Hold, Json, Message, User, World

    Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

API = "/api/v10"
SESSION_STARTS_RESET_MILLISECONDS = 14_400_000
NO_TOKEN_NEEDED = ("/webhooks/", "/interactions/")
FILE_FIELD = re.compile(r"files\[(\d+)\]")
TOKEN_IN_PATH = re.compile(r"^(/(?:webhooks|interactions)/\d+/)[^/]+")
CANNOT_SEND = {
    50007: "Cannot send messages to this user",
    50278: "Cannot send messages to this user due to having no mutual guilds",
    40003: "You are opening direct messages too fast",
}

DEFERRED_REPLY, DEFERRED_UPDATE = 5, 6


def answer_json(data: Json | list[Json], status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Answer JSON with exactly the content type that discord.py recognises: no charset behind it."""
    body = json.dumps(data).encode()
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def unknown(what: str, code: int) -> DiscordError:
    """Return the answer for something that does not exist."""
    return DiscordError(404, code, f"Unknown {what}")


_BODY = web.RequestKey("body", Body)
_REFUSAL = web.RequestKey("refusal", DiscordError)


class Rest:
    """Answers the API's requests from the world."""

    def __init__(self, world: World, gateway: Gateway) -> None:
        self._world = world
        self._gateway = gateway

    def add_routes(self, app: web.Application) -> None:
        """Put the API into an application."""
        app.middlewares.append(self._serve)
        for method, path, handler in self._routes():
            app.router.add_route(method, API + path, handler)

    def _routes(self) -> list[tuple[str, str, Handler]]:
        channel = r"/channels/{channel:\d+}"
        message = channel + r"/messages/{message:\d+}"
        webhook = r"/webhooks/{application:\d+}/{token}"
        answer = webhook + "/messages/{message}"
        commands = r"/applications/{application}{scope:(?:/guilds/\d+)?}/commands"
        member = r"/guilds/{guild:\d+}/members/{user:\d+}"
        return [
            ("GET", "/users/@me", self._own_user),
            ("GET", r"/guilds/{guild:\d+}", self._guild),
            ("GET", member, self._member),
            ("PUT", member + r"/roles/{role:\d+}", self._give_role),
            ("DELETE", member + r"/roles/{role:\d+}", self._take_role),
            ("POST", "/users/@me/channels", self._open_dm),
            ("GET", "/oauth2/applications/@me", self._application),
            ("GET", "/applications/@me", self._application),
            ("GET", "/gateway/bot", self._gateway_for_bot),
            ("GET", commands, self._get_commands),
            ("PUT", commands, self._sync_commands),
            ("POST", commands, self._upsert_command),
            ("DELETE", rf"{commands}/{{command:\d+}}", self._delete_command),
            ("GET", channel, self._channel),
            ("GET", channel + "/messages", self._history),
            ("POST", channel + "/messages", self._send),
            ("PATCH", message, self._edit),
            ("DELETE", message, self._delete),
            ("POST", r"/interactions/{interaction:\d+}/{token}/callback", self._callback),
            ("POST", webhook, self._follow_up),
            ("GET", answer, self._get_answer),
            ("PATCH", answer, self._edit_answer),
            ("DELETE", answer, self._delete_answer),
        ]

    # Around every request

    @web.middleware
    async def _serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Log the request, answer it or suffer a fault, and wake those who wait."""
        if not request.path.startswith(API):
            return await handler(request)
        path = request.path.removeprefix(API)
        entry = Request(request.method, TOKEN_IN_PATH.sub(r"\1***", path), at=self._world.now())
        self._world.requests.append(entry)
        entry.body = await self._receive(request, path)
        user = entry.user = self._world.concerned(path, entry.body)
        hold = self._world.take_hold(request.method, path, user)
        fault = None if hold else self._world.take_fault(request.method, path, user)
        if hold is not None:
            response = await self._hold(request, handler, hold)
        elif fault is None:
            response = await self._answer(request, handler)
        else:
            response = await self._fail(request, handler, fault)
        entry.status = response.status if fault is None else fault.status
        await self._world.changed()
        return response

    async def _receive(self, request: web.Request, path: str) -> Json | list[Json] | None:
        """Read what the request brought, hold it to the contract, and return its JSON."""
        body = Body(None)
        try:
            if request.content_type == "multipart/form-data":
                body = await _multipart(request)
            elif request.can_read_body:
                body = Body(_decoded(await request.text()))
        except DiscordError as error:
            request[_REFUSAL] = error
        request[_BODY] = body
        if described := contract():
            self._world.violated(described.request(request.method, path, request.query, body.payload, body.fields))
        payload: Json | list[Json] | None = body.payload
        return payload

    async def _hold(self, request: web.Request, handler: Handler, hold: Hold) -> web.StreamResponse:
        """Keep a request waiting before or after the work is done."""
        response = None if hold.before else await self._answer(request, handler)
        hold.has_caught.set()
        await hold.released.wait()
        return response or await self._answer(request, handler)

    async def _fail(self, request: web.Request, handler: Handler, fault: Fault) -> web.StreamResponse:
        """Answer as the fault says, before or after the work is done; status 0 cuts the connection."""
        if not fault.before:
            await self._answer(request, handler)
        if fault.status == 0 and request.transport is not None:
            request.transport.abort()
            return web.Response()
        body: Json = {"message": f"The small Discord was told to answer {fault.status}", "code": fault.code}
        if "Retry-After" in fault.headers:
            body |= {"retry_after": float(fault.headers["Retry-After"]), "global": False}
        return answer_json(body, fault.status, fault.headers)

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Do the work, and hold its answer to the contract too."""
        response = await self._work(request, handler)
        path = request.path.removeprefix(API)
        if (described := contract()) and isinstance(response, web.Response):
            body = json.loads(response.text) if response.text else None
            self._world.violated(described.answer(request.method, path, response.status, body))
        return response

    async def _work(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._authorize(request)
            return await handler(request)
        except DiscordError as error:
            return answer_json(error.body, error.status)
        except web.HTTPException as error:
            return answer_json({"message": f"{error.status}: {error.reason}", "code": 0}, error.status)

    def _authorize(self, request: web.Request) -> None:
        path = request.path.removeprefix(API)
        if not path.startswith(NO_TOKEN_NEEDED) and request.headers.get("Authorization") != f"Bot {self._world.token}":
            raise DiscordError(401, 0, "401: Unauthorized")

    # About the bot

    async def _own_user(self, _: web.Request) -> web.Response:
        return answer_json(own_user_json(self._world.bot_user))

    async def _application(self, _: web.Request) -> web.Response:
        return answer_json(application_json(self._world))

    async def _gateway_for_bot(self, _: web.Request) -> web.Response:
        limit = {
            "total": 1000,
            "remaining": 1000 - self._gateway.identified,
            "reset_after": SESSION_STARTS_RESET_MILLISECONDS,
            "max_concurrency": 1,
        }
        return answer_json({"url": self._gateway.url, "shards": 1, "session_start_limit": limit})

    # Commands

    def _commands(self, request: web.Request) -> dict[str, Json]:
        """Return the commands of a server, or those that are offered everywhere."""
        if request.match_info["application"] != str(self._world.application_id):
            raise DiscordError(403, 20012, "You are not authorized to perform this action on this application")
        guild_id = int((request.match_info["scope"].rpartition("/")[2]) or 0)
        if guild_id == 0:
            return self._world.commands
        if guild_id not in self._world.guilds:
            raise DiscordError(403, 50001, "Missing Access")
        return self._world.guild_commands.setdefault(guild_id, {})

    async def _get_commands(self, request: web.Request) -> web.Response:
        return answer_json(list(self._commands(request).values()))

    async def _sync_commands(self, request: web.Request) -> web.Response:
        known = self._commands(request)
        described = {each["name"]: self._command(known.get(each["name"]), each) for each in self._json_list(request)}
        known.clear()
        known.update(described)
        self._world.syncs += 1
        return answer_json(list(known.values()))

    async def _upsert_command(self, request: web.Request) -> web.Response:
        known, described = self._commands(request), self._body(request).payload
        known[described["name"]] = self._command(known.get(described["name"]), described)
        return answer_json(known[described["name"]], status=201)

    async def _delete_command(self, request: web.Request) -> web.Response:
        known = self._commands(request)
        name = next((name for name, each in known.items() if each["id"] == request.match_info["command"]), None)
        if name is None:
            raise DiscordError(404, 10063, "Unknown application command")
        del known[name]
        return web.Response(status=204)

    def _command(self, known: Json | None, described: Json) -> Json:
        """Complete a command; one of the same name keeps its id."""
        permissions = described.get("default_member_permissions")
        return {
            "type": 1,
            "description": "",
            "options": [],
            "nsfw": False,
            "dm_permission": True,
            "contexts": None,
            **described,
            "default_member_permissions": None if permissions is None else str(permissions),
            "integration_types": described.get("integration_types") or [0],
            "id": known["id"] if known else str(self._world.snowflake()),
            "version": str(self._world.snowflake()),
            "application_id": str(self._world.application_id),
        }

    # Members and their roles

    def _guild_of(self, request: web.Request) -> Guild:
        guild = self._world.guilds.get(int(request.match_info["guild"]))
        if guild is None:
            raise unknown("Guild", 10004)
        return guild

    async def _guild(self, request: web.Request) -> web.Response:
        return answer_json(fetched_guild_json(self._guild_of(request)))

    def _member_of(self, request: web.Request) -> tuple[Guild, User]:
        guild = self._guild_of(request)
        people = [*guild.members, self._world.bot_user]
        user = next((user for user in people if user.id == int(request.match_info["user"])), None)
        if user is None:
            raise unknown("Member", 10007)
        return guild, user

    async def _member(self, request: web.Request) -> web.Response:
        return answer_json(member_json(*self._member_of(request)))

    async def _give_role(self, request: web.Request) -> web.Response:
        self._held_roles(request).add(int(request.match_info["role"]))
        return web.Response(status=204)

    async def _take_role(self, request: web.Request) -> web.Response:
        self._held_roles(request).discard(int(request.match_info["role"]))
        return web.Response(status=204)

    def _held_roles(self, request: web.Request) -> set[int]:
        """Return a member's roles, to be changed: only that for members is below the bot's own."""
        guild, user = self._member_of(request)
        if int(request.match_info["role"]) != guild.member_role.id:
            raise DiscordError(403, 50013, "Missing Permissions")
        return guild.roles_of[user.id]

    # Channels and messages

    async def _open_dm(self, request: web.Request) -> web.Response:
        recipient_id = self._body(request).payload.get("recipient_id")
        user = self._world.users.get(int(recipient_id or 0))
        if user is None or user is self._world.bot_user:
            raise messages.invalid("recipient_id", "RECIPIENT_UNKNOWN", "There is nobody with this id.")
        return answer_json(channel_json(self._world.dm_channel(user)))

    async def _channel(self, request: web.Request) -> web.Response:
        return answer_json(channel_json(self._channel_of(request)))

    def _channel_of(self, request: web.Request) -> Channel:
        channel = self._world.channels.get(int(request.match_info["channel"]))
        if channel is None:
            raise unknown("Channel", 10003)
        return channel

    def _message_of(self, request: web.Request) -> Message:
        """Return the message in the path; ephemeral ones exist only for their interaction's token."""
        message_id = int(request.match_info["message"])
        for message in self._world.lasting(self._channel_of(request).id):
            if message.id == message_id:
                return message
        raise unknown("Message", 10008)

    async def _history(self, request: web.Request) -> web.Response:
        newest = self._world.lasting(self._channel_of(request).id)[::-1]
        limit = int(request.query.get("limit", 50))
        return answer_json([message_json(self._world, message) for message in newest[:limit]])

    async def _send(self, request: web.Request) -> web.Response:
        channel = self._channel_of(request)
        body = self._body(request)
        if channel.recipient is not None and channel.recipient.dms_closed is not None:
            code = channel.recipient.dms_closed
            raise DiscordError(403, code, CANNOT_SEND.get(code, "Cannot send messages to this user"))
        message = messages.sent_before(self._world, channel, body.payload)
        if message is None:
            message = messages.create(self._world, channel, body)
        return self._described(message)

    async def _edit(self, request: web.Request) -> web.Response:
        body = self._body(request)
        return self._edited(self._message_of(request), body)

    async def _delete(self, request: web.Request) -> web.Response:
        self._message_of(request).deleted = True
        return web.Response(status=204)

    def _described(self, message: Message) -> web.Response:
        return answer_json(message_json(self._world, message))

    def _edited(self, message: Message, body: Body) -> web.Response:
        messages.edit(self._world, message, body)
        return self._described(message)

    # Interactions

    async def _callback(self, request: web.Request) -> web.Response:
        body = self._body(request)
        interaction = self._interaction_of(request)
        if interaction is None or str(interaction.id) != request.match_info["interaction"]:
            raise unknown("interaction", 10062)
        if interaction.state is not InteractionState.UNANSWERED:
            raise DiscordError(400, 40060, "Interaction has already been acknowledged.")
        if self._world.now() > interaction.created_at + ANSWER_WITHIN:
            raise unknown("interaction", 10062)
        self._acknowledge(interaction, body.payload["type"], body.payload.get("data") or {})
        if request.query.get("with_response") in {"1", "true"}:
            return answer_json(callback_json(interaction))
        return web.Response(status=204)

    def _acknowledge(self, interaction: Interaction, kind: int, data: Json) -> None:
        """Defer the answer: to "thinking", or to a change of the message whose button was pressed."""
        if kind == DEFERRED_REPLY:
            flags = data.get("flags") or 0
            if flags & ~EPHEMERAL:
                raise messages.invalid("data.flags", "FLAGS_INVALID", "A deferred answer may only carry EPHEMERAL.")
            interaction.response = messages.create_loading(self._world, interaction, ephemeral=bool(flags))
            interaction.state = InteractionState.DEFERRED
        elif kind == DEFERRED_UPDATE and interaction.message is not None:
            interaction.response = interaction.message
            interaction.state = InteractionState.DEFERRED_UPDATE
        else:
            raise messages.invalid("type", "BASE_TYPE_CHOICES", "This type cannot answer this interaction here.")

    def _interaction_of(self, request: web.Request) -> Interaction | None:
        return self._world.interaction_of(request.match_info["token"])

    def _open_interaction(self, request: web.Request) -> Interaction:
        """Return the interaction whose token is in the path, if it was acknowledged and still lives."""
        if request.match_info["application"] != str(self._world.application_id):
            raise unknown("Webhook", 10015)
        interaction = self._interaction_of(request)
        if interaction is None or self._world.now() >= interaction.expires_at:
            raise DiscordError(401, 50027, "Invalid Webhook Token")
        if interaction.state is InteractionState.UNANSWERED:
            raise unknown("Webhook", 10015)
        return interaction

    def _answer_of(self, request: web.Request) -> tuple[Interaction, Message]:
        interaction = self._open_interaction(request)
        wanted = request.match_info["message"]
        for message in interaction.reachable():
            original = wanted == "@original" and message is interaction.response
            if original or wanted == str(message.id):
                return interaction, message
        raise unknown("Message", 10008)

    async def _get_answer(self, request: web.Request) -> web.Response:
        return self._described(self._answer_of(request)[1])

    async def _edit_answer(self, request: web.Request) -> web.Response:
        body = self._body(request)
        interaction, message = self._answer_of(request)
        response = self._edited(message, body)
        if message is interaction.response:
            interaction.state = InteractionState.ANSWERED
        return response

    async def _delete_answer(self, request: web.Request) -> web.Response:
        interaction, message = self._answer_of(request)
        message.deleted = True
        if message is interaction.response:
            interaction.state = InteractionState.ANSWERED
        return web.Response(status=204)

    async def _follow_up(self, request: web.Request) -> web.Response:
        """Send a further message; the first one fills a deferred answer, as Discord still does."""
        body = self._body(request)
        interaction = self._open_interaction(request)
        if interaction.state is InteractionState.DEFERRED and interaction.response is not None:
            response = self._edited(interaction.response, body)
            interaction.state = InteractionState.ANSWERED
            return response
        message = messages.create(self._world, interaction.channel, body, interaction=interaction)
        interaction.followups.append(message)
        return self._described(message)

    # Bodies

    def _body(self, request: web.Request) -> Body:
        body = request[_BODY]
        if _REFUSAL in request:
            raise request[_REFUSAL]
        if not isinstance(body.payload, dict):
            raise DiscordError(400, 50035, "Invalid Form Body")
        return body

    def _json_list(self, request: web.Request) -> list[Json]:
        payload = request[_BODY].payload
        if not isinstance(payload, list):
            raise DiscordError(400, 50035, "Invalid Form Body")
        return payload


async def _multipart(request: web.Request) -> Body:
    """Read `payload_json` and `files[n]`."""
    body = Body()
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            raise DiscordError(400, 50035, "Invalid Form Body")
        name = part.name or ""
        if name == "payload_json":
            body.payload = _decoded(await part.text())
            continue
        body.fields.append(name)
        if field := FILE_FIELD.fullmatch(name):
            body.files[int(field[1])] = Upload(part.filename or "file", bytes(await part.read()))
    return body


def _decoded(text: str) -> Any:  # what a client sends may be anything
    try:
        return json.loads(text)
    except ValueError:
        raise DiscordError(400, 50109, "The request body contains invalid JSON.") from None
