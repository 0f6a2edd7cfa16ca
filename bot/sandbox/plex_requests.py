"""How the stand-in of plex.tv reads a request: which operation, and which values, wherever they were put."""

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import CIMultiDict


class Operation(StrEnum):
    """What the stand-in can be asked to do."""

    CREATE_PIN = "create_pin"
    GET_PIN = "get_pin"
    LINK_PIN = "link_pin"
    USER = "user"
    SIGN_OUT = "sign_out"
    PING = "ping"
    RESOURCES = "resources"
    DEVICES = "devices"
    DELETE_DEVICE = "delete_device"


_ROUTES = tuple(
    (operation, method, re.compile(path))
    for operation, method, path in (
        (Operation.CREATE_PIN, "POST", r"/api/v2/pins(?:\.json)?"),
        (Operation.GET_PIN, "GET", r"/api/v2/pins/(\d+)(?:\.json)?"),
        (Operation.LINK_PIN, "PUT", r"/api/v2/pins/link(?:\.json)?"),
        (Operation.USER, "GET", r"/api/v2/user(?:\.json)?"),
        (Operation.SIGN_OUT, "DELETE", r"/api/v2/users/signout(?:\.json)?"),
        (Operation.PING, "GET", r"/api/v2/ping(?:\.json)?"),
        (Operation.RESOURCES, "GET", r"/api/v2/resources(?:\.json)?"),
        (Operation.DEVICES, "GET", r"/devices\.xml"),
        (Operation.DELETE_DEVICE, "DELETE", r"/devices/(\d+)\.xml"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Call:
    """One request as it came in; `operation` is None for a path that plex.tv does not know.

    `status` is that of the status line sent: None before, and for ever if the connection ended without one.
    """

    operation: Operation | None
    method: str
    path: str
    query: dict[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    at: datetime
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as plex.tv understands it, wherever the client put the values."""

    fields: Mapping[str, str]
    item: int
    as_json: bool
    at: datetime

    @property
    def client_identifier(self) -> str:
        """The device that asks. Raises KeyError if the client did not say."""
        return self.fields["X-Plex-Client-Identifier"]

    def is_strong(self) -> bool:
        """Tell whether a long code is wanted."""
        return self.fields.get("strong", "").lower() in {"true", "1"}


def path_of(request: web.Request) -> str:
    """Return the path as plex.tv sees it, without the key of the site."""
    return "/" + request.match_info["path"]


def operation_of(request: web.Request) -> tuple[Operation | None, int]:
    """Return the operation of a request, and the number in its path or 0."""
    for operation, method, path in _ROUTES:
        if method == request.method and (match := path.fullmatch(path_of(request))):
            return operation, int((*match.groups(), 0)[0])
    return None, 0


def wants_json(request: web.Request) -> bool:
    """Tell whether the client gets JSON; plex.tv's default is XML."""
    return request.path.endswith(".json") or "application/json" in request.headers.get("Accept", "")


def read_json(raw: bytes) -> dict[str, object] | None:
    """Return the members of a JSON object, or None if it is not one."""
    with contextlib.suppress(ValueError, RecursionError):
        members = json.loads(raw)
        if isinstance(members, dict):
            return members
    return None


async def read_fields(request: web.Request) -> Mapping[str, str]:
    """Return body, query and X-Plex-* headers as one; headers win over the query, that over the body."""
    fields = CIMultiDict(await _read_body(request))
    fields.update(tuple(request.query.items()))  # as pairs: multidict 6.1 kept the case of a dict's keys
    fields.update({key: _text(value) for key, value in request.headers.items() if key.lower().startswith("x-plex-")})
    return fields


async def _read_body(request: web.Request) -> dict[str, str]:
    """Return the members of a form or of a JSON object; a body that is neither says nothing."""
    raw = await request.read()
    if request.content_type == "application/x-www-form-urlencoded":
        return dict(parse_qsl(raw.decode(errors="replace")))
    members = read_json(raw) or {}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in members.items()}


def _text(header: str) -> str:
    """Return a header as plex.tv reads it: UTF-8, else ISO-8859-1 (aiohttp hands over escaped bytes)."""
    raw = header.encode(errors="surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("iso-8859-1")
