"""A stand-in of plex.tv on loopback: PIN sign-in, account, servers, devices, and what can go wrong with them.

    async with PlexTV() as plex:
        ...                                # point the bot at plex.url
        plex.approve("7RQZ", ALICE)        # what a member does on plex.tv/link
        plex.fail(Reset(after="body"), calls=Operation.GET_PIN)

It keeps everything in memory, takes the time from `now` and logs nothing.
What the contract leaves open is a setting: `token_reads`, `rate_limit`, `latency`.
"""

import asyncio
import contextlib
import functools
import secrets
import string
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Self

from aiohttp import web

from .plex_answers import (
    ALICE,
    BOB,
    JAMIE,
    KID,
    NO_CLIENT_IDENTIFIER,
    NOT_AUTHENTICATED,
    PIN_IS_GONE,
    Account,
    Answer,
    CodeError,
    Connection,
    Device,
    Pin,
    RefusalError,
    Server,
    device_list,
    html_answer,
    object_answer,
    pin_members,
    pong_answer,
    resource_list,
    user_members,
)
from .plex_faults import (
    ABSENT,
    AfterStoring,
    ArmedFault,
    Body,
    Bom,
    DeepJson,
    Drip,
    Empty,
    Exchange,
    Fault,
    ForeignJson,
    GzipBomb,
    Hang,
    Html,
    Huge,
    JsonError,
    Latency,
    NoFault,
    RateLimited,
    Redirect,
    Relabelled,
    Reset,
    ServerError,
    Truncated,
    WrongTypes,
)
from .plex_pages import SAMPLES, Pages, SampleAccount
from .plex_requests import Ask, Call, Operation, operation_of, path_of, read_fields, wants_json
from .site import Site

__all__ = (
    "ABSENT",
    "ALICE",
    "BOB",
    "JAMIE",
    "KID",
    "SAMPLES",
    "Account",
    "AfterStoring",
    "Body",
    "Bom",
    "Call",
    "CodeError",
    "Connection",
    "DeepJson",
    "Device",
    "Drip",
    "Empty",
    "Exchange",
    "Fault",
    "ForeignJson",
    "GzipBomb",
    "Hang",
    "Html",
    "Huge",
    "JsonError",
    "Latency",
    "NoFault",
    "Operation",
    "Pin",
    "PlexTV",
    "RateLimited",
    "Redirect",
    "Relabelled",
    "Reset",
    "SampleAccount",
    "Server",
    "ServerError",
    "Truncated",
    "WrongTypes",
)

SHORT_CODE_LIFE = timedelta(seconds=900)
STRONG_CODE_LIFE = timedelta(seconds=1800)
PRODUCT_IF_NONE = "0"


def _utc_now() -> datetime:
    return datetime.now(UTC)


class PlexTV:
    """The stand-in; see the module's words for its use.

    `token_reads`: how often the token of an approved PIN can be read before the PIN answers 404/1020; None is
    without limit. `rate_limit`: requests per second, refused ones counted, above which 429/1003 is answered.
    `latency`: seconds before every answer. `port`, `key`: as `Site` takes them; with a key `url` has a path.
    `accounts`: what the pages offer to approve with. `remembered_requests`: the most that `requests` keeps.
    `keeps_connections`: without it each answer ends its connection, as behind some proxies.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime] = _utc_now,
        port: int = 0,
        token_reads: int | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        key: str = "",
        accounts: Sequence[SampleAccount] = SAMPLES,
        remembered_requests: int | None = None,
        keeps_connections: bool = True,
    ) -> None:
        self.token_reads = token_reads
        self.rate_limit: float | None = None
        self.latency: float = 0
        self.pins: dict[int, Pin] = {}
        self.tokens: dict[str, Device] = {}
        self.servers: dict[Account, list[Server]] = {}
        self.requests: list[Call] = []
        self._now = now
        self._sleep = sleep
        self._remembered_requests = remembered_requests
        self._keeps_connections = keeps_connections
        self._faults: list[ArmedFault] = []
        self._healed = asyncio.Event()
        self._arrival = asyncio.Event()
        self._recent: deque[datetime] = deque()
        self._serving: set[asyncio.Task[object]] = set()
        self._pages = Pages(pin=self.pin, approve=self.approve, now=now, accounts=accounts)
        self._site = Site(self._build, port=port, key=key)
        self._operations: dict[Operation, Callable[[Ask], Answer]] = {
            Operation.CREATE_PIN: self._create_pin,
            Operation.GET_PIN: self._get_pin,
            Operation.LINK_PIN: self._link_pin,
            Operation.USER: self._user,
            Operation.SIGN_OUT: self._sign_out,
            Operation.PING: self._ping,
            Operation.RESOURCES: self._resources,
            Operation.DEVICES: self._devices,
            Operation.DELETE_DEVICE: self._delete_device,
        }

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen on loopback."""
        await self._site.start()

    async def stop(self) -> None:
        """Close every connection, answered or not. What is stored stays for the next start."""
        for task in self._serving:
            task.cancel()
        await self._site.stop()

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        return self._site.url

    def pin(self, code: str) -> Pin:
        """Return the PIN with this code, dead or alive. Raises CodeError."""
        for pin in self.pins.values():
            if pin.code == code:
                return pin
        raise CodeError(f"no PIN has the code {code!r}")

    def approve(self, code: str, account: Account = ALICE) -> str:
        """Approve a code as the link page does; return the new token. Raises CodeError."""
        pin = self.pin(code)
        if pin.is_expired(self._now()):
            raise CodeError(f"the code {code!r} has expired")
        if pin.token is not None:
            raise CodeError(f"the code {code!r} is already approved")
        pin.account, pin.token = account, secrets.token_urlsafe(15)
        self.tokens[pin.token] = self._new_device(pin, account)
        return pin.token

    def expire(self, code: str) -> None:
        """Let the code die now. Raises CodeError."""
        self.pin(code).expires_at = self._now()

    def is_alive(self, token: str) -> bool:
        """Tell whether the token still opens its account."""
        return token in self.tokens

    def revoke(self, token: str) -> None:
        """Kill a token as a member does who removes the device. Raises KeyError if it is not alive."""
        if token not in self.tokens:
            raise KeyError("no device has this token")
        del self.tokens[token]

    def share(self, server: Server, account: Account = ALICE) -> None:
        """Let plex.tv tell an account of a media server."""
        self.servers.setdefault(account, []).append(server)

    def fail(self, fault: Fault, *, calls: str = "*", times: int | None = 1) -> None:
        """Meet the next `times` matching requests with a fault; None is all of them until `heal`.

        `calls` is the name of an operation or "*". Of several armed faults the first comes first.
        Raises ValueError for an unknown name.
        """
        self._faults.append(ArmedFault(fault, _known(calls), times))

    def heal(self) -> None:
        """Drop all faults, and answer the requests that hang."""
        self._faults.clear()
        self._healed.set()
        self._healed = asyncio.Event()

    async def received(self, calls: str = "*", *, count: int = 1) -> Call:
        """Wait for the `count`th matching request, answered or not, and return it.

        Counts what is in `requests`. Raises ValueError for an unknown name.
        """
        wanted = {_known(calls)}
        found: list[Call] = []

        def are_enough() -> bool:
            found[:] = [call for call in self.requests if {"*", call.operation} & wanted]
            return len(found) >= count

        await self.until(are_enough)
        return found[count - 1]

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so; it is looked at whenever a request arrives."""
        while not is_so():
            await self._arrival.wait()

    def _build(self) -> web.Application:
        app = web.Application()
        app.add_routes([*self._pages.routes(), web.route("*", "/{path:.*}", self._serve)])
        app.on_response_prepare.append(_strip_type_of_nothing)
        return app

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        # aiohttp forgets the handler of a connection that the client closed, so stop() would leave it behind.
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a handler of aiohttp always runs in a task
        self._serving.add(task)
        try:
            return await self._answer(request)
        finally:
            self._serving.discard(task)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        operation, item = operation_of(request)
        call = self._record(request, operation)
        fault = self._claim_fault(operation) or self._rate_limit_fault(call.at)
        exchange = Exchange(
            request,
            perform=functools.partial(self._perform, request, operation, item),
            note_status=functools.partial(self._note_status, call),
            sleep=self._sleep,
            healed=self._healed,
        )
        if self.latency:
            await self._sleep(self.latency)
        response = await (fault or NoFault()).answer(exchange)
        if not response.prepared and not exchange.is_abandoned():
            self._note_status(call, response.status)
            if not self._keeps_connections:
                response.force_close()
        return response

    def _record(self, request: web.Request, operation: Operation | None) -> Call:
        call = Call(
            operation=operation,
            method=request.method,
            path=path_of(request),
            query=dict(request.query),
            headers=request.headers,
            at=self._now(),
        )
        self.requests.append(call)
        if self._remembered_requests is not None:
            del self.requests[: -self._remembered_requests]
        self._arrival.set()
        self._arrival = asyncio.Event()
        return call

    def _note_status(self, call: Call, status: int) -> None:
        with contextlib.suppress(ValueError):  # a test may have cleared the list meanwhile
            self.requests[self.requests.index(call)] = replace(call, status=status)

    def _claim_fault(self, operation: Operation | None) -> Fault | None:
        return next((armed.fault for armed in self._faults if armed.claim(operation)), None)

    def _rate_limit_fault(self, at: datetime) -> Fault | None:
        if self.rate_limit is None:
            return None
        window_seconds = max(1.0, 1 / self.rate_limit)
        self._recent.append(at)
        while at - self._recent[0] >= timedelta(seconds=window_seconds):
            self._recent.popleft()
        return RateLimited() if len(self._recent) > self.rate_limit * window_seconds else None

    async def _perform(self, request: web.Request, operation: Operation | None, item: int) -> Answer:
        if operation is None:
            return html_answer(404, "404 Not Found")
        as_json = wants_json(request)
        ask = Ask(await read_fields(request), item, as_json, self._now())
        try:
            if not ask.fields.get("X-Plex-Client-Identifier"):
                raise RefusalError(NO_CLIENT_IDENTIFIER)  # noqa: TRY301  one place words every refusal
            return self._operations[operation](ask)
        except RefusalError as refusal:
            return refusal.error.answer(as_json=as_json)

    def _create_pin(self, ask: Ask) -> Answer:
        pin = Pin(
            id=self._new_pin_id(),
            code=self._new_code(strong=ask.is_strong()),
            client_identifier=ask.client_identifier,
            product=ask.fields.get("X-Plex-Product", PRODUCT_IF_NONE),
            device_name=ask.fields.get("X-Plex-Device-Name", ""),
            strong=ask.is_strong(),
            created_at=ask.at,
            expires_at=ask.at + (STRONG_CODE_LIFE if ask.is_strong() else SHORT_CODE_LIFE),
        )
        self.pins[pin.id] = pin
        return self._show(pin, ask, status=201)

    def _get_pin(self, ask: Ask) -> Answer:
        pin = self.pins.get(ask.item)
        if pin is None or pin.client_identifier != ask.client_identifier or pin.is_expired(ask.at):
            raise RefusalError(PIN_IS_GONE)
        if pin.token is not None:
            self._count_token_read(pin)
        return self._show(pin, ask)

    def _count_token_read(self, pin: Pin) -> None:
        if self.token_reads is not None and pin.token_reads >= self.token_reads:
            raise RefusalError(PIN_IS_GONE)
        pin.token_reads += 1

    def _link_pin(self, ask: Ask) -> Answer:
        _, device = self._signed_in(ask)
        try:
            self.approve(ask.fields.get("code", ""), device.account)
        except CodeError as error:
            raise RefusalError(PIN_IS_GONE) from error
        return Answer(204)

    def _user(self, ask: Ask) -> Answer:
        token, device = self._signed_in(ask)
        members = user_members(device.account, token=token, now=ask.at)
        return object_answer("user", members, as_json=ask.as_json)

    def _sign_out(self, ask: Ask) -> Answer:
        token, _ = self._signed_in(ask)
        del self.tokens[token]
        return Answer(204)

    def _ping(self, ask: Ask) -> Answer:
        self._signed_in(ask)
        return pong_answer(as_json=ask.as_json)

    def _resources(self, ask: Ask) -> Answer:
        _, asking = self._signed_in(ask)
        return resource_list(self.servers.get(asking.account, ()), now=ask.at, as_json=ask.as_json)

    def _devices(self, ask: Ask) -> Answer:
        _, asking = self._signed_in(ask)
        return device_list({token: device for token, device in self.tokens.items() if device.account == asking.account})

    def _delete_device(self, ask: Ask) -> Answer:
        _, asking = self._signed_in(ask)
        for token, device in list(self.tokens.items()):
            if (device.id, device.account) == (ask.item, asking.account):
                del self.tokens[token]
                return Answer(200)
        return html_answer(404, "404 Not Found")

    def _signed_in(self, ask: Ask) -> tuple[str, Device]:
        token = ask.fields.get("X-Plex-Token", "")
        if token not in self.tokens:
            raise RefusalError(NOT_AUTHENTICATED)
        self.tokens[token].last_seen_at = ask.at
        return token, self.tokens[token]

    def _show(self, pin: Pin, ask: Ask, *, status: int = 200) -> Answer:
        members = pin_members(pin, now=ask.at, site=self.url)
        return object_answer("pin", members, as_json=ask.as_json, status=status)

    def _new_pin_id(self) -> int:
        while (number := 1 + secrets.randbelow(2**31 - 1)) in self.pins:
            pass
        return number

    def _new_code(self, *, strong: bool) -> str:
        alphabet, length = (string.ascii_lowercase, 25) if strong else (string.ascii_uppercase, 4)
        taken = {pin.code for pin in self.pins.values()}
        while (code := "".join(secrets.choice(alphabet + string.digits) for _ in range(length))) in taken:
            pass
        return code

    def _new_device(self, pin: Pin, account: Account) -> Device:
        at = self._now()
        return Device(
            id=1 + secrets.randbelow(2**31 - 1),
            account=account,
            client_identifier=pin.client_identifier,
            name=pin.device_name,
            product=pin.product,
            created_at=at,
            last_seen_at=at,
        )


def _known(calls: str) -> str:
    """Return "*" or the name of an operation. Raises ValueError for any other."""
    return calls if calls == "*" else Operation(calls)


async def _strip_type_of_nothing(_: web.Request, response: web.StreamResponse) -> None:
    # plex.tv's edge gives an empty answer no content type, aiohttp 3.9 gives it one.
    if response.content_length == 0:
        response.headers.popall("Content-Type", None)
