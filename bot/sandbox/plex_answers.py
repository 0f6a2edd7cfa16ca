"""What the stand-in of plex.tv keeps and how it reads on the wire: accounts, PINs, devices, errors.

The shapes are those of the recorded answers. Nothing here knows the network or the clock.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from aiohttp import web

JSON = "application/json; charset=utf-8"
XML = "application/xml; charset=utf-8"
HTML = "text/html; charset=utf-8"

SIGN_IN_IS_REMEMBERED = timedelta(days=14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account at the stand-in; an empty `username` or `email` goes out as null (managed profiles)."""

    id: int
    uuid: str
    username: str
    email: str
    title: str = ""
    restricted: bool = False
    home_pin: str | None = field(default=None, repr=False)


ALICE = Account(id=1001, uuid="a11ce000a11ce000", username="alice", email="alice@example.com")
BOB = Account(
    id=1002,
    uuid="b0b00000b0b00000",
    username="bob",
    email="bob@example.com",
    home_pin="4711",
)
KID = Account(id=1003, uuid="c1d00000c1d00000", username="", email="", title="Kid", restricted=True)
JAMIE = Account(id=1004, uuid="4a31e0004a31e000", username="jamie", email="jamie@example.com")


@dataclass(slots=True, kw_only=True)
class Pin:
    """A PIN from its creation on; `token` and `account` are None until somebody approves it."""

    id: int = field(repr=False)
    code: str
    client_identifier: str = field(repr=False)
    product: str
    device_name: str
    strong: bool
    created_at: datetime
    expires_at: datetime
    token: str | None = field(default=None, repr=False)
    account: Account | None = None
    token_reads: int = 0

    def is_expired(self, now: datetime) -> bool:
        """Tell whether the code is dead at `now`."""
        return now >= self.expires_at

    def seconds_left(self, now: datetime) -> int:
        """Return the whole seconds that are left at `now`."""
        return max(0, int((self.expires_at - now).total_seconds()))


@dataclass(slots=True, kw_only=True)
class Device:
    """A row of "Authorized Devices": what one token stands for."""

    id: int
    account: Account
    client_identifier: str = field(repr=False)
    name: str
    product: str
    created_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """An address of a media server; `local` in its own network, `relay` through Plex's."""

    uri: str
    local: bool = False
    relay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A media server as plex.tv tells one account of it.

    `access_token` opens the server for that account, and nothing else. `is_near`: whoever asks plex.tv comes from the
    server's own public address. `owner_id` is the account that shares it; nothing where it is the account's own.
    """

    name: str
    client_identifier: str
    access_token: str = field(repr=False)
    connections: tuple[Connection, ...]
    is_near: bool = True
    owner_id: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, bytes and type of one answer, before a fault spoils it."""

    status: int
    body: bytes = field(default=b"", repr=False)
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def wire_headers(self) -> dict[str, str]:
        """Return the headers of the answer, the content type among them."""
        kind = {} if self.content_type is None else {"Content-Type": self.content_type}
        return {**self.headers, **kind}

    def response(self) -> web.Response:
        """Return the answer as aiohttp sends it."""
        return web.Response(status=self.status, body=self.body or None, headers=self.wire_headers())


@dataclass(frozen=True, slots=True)
class PlexError:
    """A refusal as plex.tv words it; `tells_status` is off for 404/1020, whose recording has no `status`."""

    status: int
    code: int
    message: str
    tells_status: bool = True

    def answer(self, *, as_json: bool = True) -> Answer:
        """Return the refusal in the form that the client asked for."""
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.tells_status:
            error["status"] = self.status
        if as_json:
            return json_answer({"errors": [error]}, status=self.status)
        return xml_answer(_element("errors", {"error": error}), status=self.status)


class CodeError(KeyError):
    """A code is unknown, expired or already approved."""

    def __str__(self) -> str:
        """Return the sentence without KeyError's quotes."""
        return str(self.args[0])


class RefusalError(Exception):
    """An operation ends in an error answer."""

    def __init__(self, error: PlexError) -> None:
        super().__init__(error.message)
        self.error = error


NO_CLIENT_IDENTIFIER = PlexError(400, 1000, "X-Plex-Client-Identifier is missing")
NOT_AUTHENTICATED = PlexError(401, 1001, "User could not be authenticated")
RATE_LIMIT_EXCEEDED = PlexError(429, 1003, "API rate limit exceeded")
PIN_IS_GONE = PlexError(404, 1020, "Code not found or expired", tells_status=False)


def json_answer(value: Mapping[str, object] | list[dict[str, object]], *, status: int = 200) -> Answer:
    """Return JSON as an answer."""
    return Answer(status, json.dumps(value).encode(), JSON)


def xml_answer(root: ET.Element, *, status: int = 200) -> Answer:
    """Return an XML document as an answer."""
    return Answer(status, ET.tostring(root, encoding="UTF-8", xml_declaration=True), XML)


def html_answer(status: int, headline: str) -> Answer:
    """Return a page for people, as an edge or a firewall sends it."""
    page = f"<!DOCTYPE html><html><head><title>{headline}</title></head><body><h1>{headline}</h1></body></html>"
    return Answer(status, page.encode(), HTML)


def object_answer(name: str, members: Mapping[str, object], *, as_json: bool, status: int = 200) -> Answer:
    """Return an object as JSON, or as the XML element `name`."""
    if as_json:
        return json_answer(members, status=status)
    return xml_answer(_element(name, members), status=status)


def pong_answer(*, as_json: bool) -> Answer:
    """Return the answer to a ping, in XML as the text that python-plexapi reads (plexapi/myplex.py)."""
    if as_json:
        return json_answer({"pong": True})
    root = ET.Element("pong")
    root.text = "1"
    return xml_answer(root)


def pin_members(pin: Pin, *, now: datetime, site: str) -> dict[str, object]:
    """Return the members of a PIN; `expiresIn` is what is left at `now`."""
    return {
        "id": pin.id,
        "code": pin.code,
        "product": pin.product,
        "trusted": False,
        "qr": f"{site}/api/v2/pins/qr/{pin.code}",
        "clientIdentifier": pin.client_identifier,
        "location": _NOWHERE,
        "expiresIn": pin.seconds_left(now),
        "createdAt": _instant(pin.created_at),
        "expiresAt": _instant(pin.expires_at),
        "authToken": pin.token,
        "newRegistration": None if pin.token is None else False,
    }


def user_members(account: Account, *, token: str, now: datetime) -> dict[str, object]:
    """Return the members of an account, the secrets among them as plex.tv does."""
    in_home = account.restricted or account.home_pin is not None
    members: dict[str, object] = {
        "id": account.id,
        "uuid": account.uuid,
        "username": account.username or None,
        "title": account.title or account.username,
        "email": account.email or None,
        "friendlyName": "",
        "locale": None,
        "confirmed": True,
        "emailOnlyAuth": False,
        "hasPassword": not account.restricted,
        "protected": account.home_pin is not None,
        "thumb": f"https://plex.tv/users/{account.uuid}/avatar?c=123456",
        "authToken": token,
        "mailingListStatus": "unsubscribed",
        "mailingListActive": False,
        "scrobbleTypes": "",
        "country": "GB",
        "subscription": _FREE_OF_CHARGE,
        "subscriptionDescription": None,
        "restricted": account.restricted,
        "anonymous": None,
        "home": in_home,
        "guest": False,
        "homeSize": 2 if in_home else 1,
        "homeAdmin": in_home and not account.restricted,
        "maxHomeSize": 15,
        "rememberExpiresAt": int((now + SIGN_IN_IS_REMEMBERED).timestamp()),
        "profile": _PROFILE,
        "entitlements": [],
        "subscriptions": [],
        "pastSubscriptions": [],
        "trials": [],
        "services": _SERVICES,
        "adsConsent": None,
        "adsConsentSetAt": None,
        "adsConsentReminderAt": None,
        "experimentalFeatures": False,
        "twoFactorEnabled": False,
        "backupCodesCreated": False,
        "joinedAt": 1339124759,
    }
    if account.home_pin is not None:
        members |= {"pin": account.home_pin, "roles": ["plexpass"]}
    return members


def resource_list(servers: Iterable[Server], *, now: datetime, as_json: bool) -> Answer:
    """Return what an account can play from and on: its servers, and a television that is none."""
    resources = [_TELEVISION, *(_server_members(server, now) for server in servers)]
    if as_json:
        return json_answer(resources)
    root = ET.Element("resources")
    root.extend(_element("resource", members) for members in resources)
    return xml_answer(root)


def _server_members(server: Server, now: datetime) -> dict[str, object]:
    return {
        "name": server.name,
        "product": "Plex Media Server",
        "productVersion": "1.42.1.10060-4e8b05daf",
        "platform": "Linux",
        "platformVersion": "6.1.0-39-amd64",
        "device": "PC",
        "clientIdentifier": server.client_identifier,
        "createdAt": "2021-01-01T12:12:24Z",
        "lastSeenAt": _instant(now),
        "provides": "server",
        "ownerId": server.owner_id,
        "sourceTitle": None if server.owner_id is None else "somebody-else",
        "publicAddress": _PUBLIC_ADDRESS,
        "accessToken": server.access_token,
        "owned": server.owner_id is None,
        "home": False,
        "synced": False,
        "relay": any(connection.relay for connection in server.connections),
        "presence": True,
        "httpsRequired": False,
        "publicAddressMatches": server.is_near,
        "dnsRebindingProtection": False,
        "natLoopbackSupported": False,
        "connections": [_connection_members(connection) for connection in server.connections],
    }


def _connection_members(connection: Connection) -> dict[str, object]:
    uri = urlsplit(connection.uri)
    return {
        "protocol": uri.scheme,
        "address": uri.hostname,
        "port": uri.port,
        "uri": connection.uri,
        "local": connection.local,
        "relay": connection.relay,
        "IPv6": ":" in (uri.hostname or ""),
    }


def device_list(devices: Mapping[str, Device]) -> Answer:
    """Return the devices (by token) as /devices.xml does, tokens included."""
    root = ET.Element("MediaContainer", publicAddress=_PUBLIC_ADDRESS, size=str(len(devices)))
    for token, device in devices.items():
        root.append(_element("Device", _device_members(device, token)))
    return xml_answer(root)


def _device_members(device: Device, token: str) -> dict[str, object]:
    # What the stand-in does not keep is empty, as in the recorded rows of clients that sent nothing.
    return {
        "name": device.name,
        "publicAddress": _PUBLIC_ADDRESS,
        "product": device.product,
        "productVersion": "",
        "platform": "",
        "platformVersion": "",
        "device": "",
        "model": "",
        "vendor": "",
        "provides": "",
        "clientIdentifier": device.client_identifier,
        "version": "",
        "id": device.id,
        "token": token,
        "createdAt": int(device.created_at.timestamp()),
        "lastSeenAt": int(device.last_seen_at.timestamp()),
        "screenResolution": "",
        "screenDensity": "",
    }


def _element(name: str, members: Mapping[str, object]) -> ET.Element:
    """Return scalars as attributes and objects as children. Lists stay out: no client reads them in XML."""
    element = ET.Element(name)
    for key, value in members.items():
        if isinstance(value, Mapping):
            element.append(_element(key, value))
        elif not isinstance(value, list):
            element.set(key, _attribute(value))
    return element


def _attribute(value: object) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_PUBLIC_ADDRESS = "192.0.2.1"

# plex.tv tells where the caller is, so where the bot's host is. This place is easy to find in a log that
# should not have it.
_NOWHERE: dict[str, object] = {
    "code": "XX",
    "european_union_member": False,
    "continent_code": "XX",
    "country": "Nowhere",
    "city": "Nowhere-on-Sea",
    "time_zone": "Etc/UTC",
    "postal_code": "00000",
    "in_privacy_restricted_country": False,
    "in_privacy_restricted_region": False,
    "subdivisions": "Nowhereshire",
    "coordinates": "0.0000, 0.0000",
}

# What plays but serves nothing has neither a token nor an address.
_TELEVISION: dict[str, object] = {
    "name": "Television",
    "product": "Plex for Android (TV)",
    "productVersion": "10.20.0.4321",
    "platform": "Android",
    "platformVersion": "12",
    "device": "TV",
    "clientIdentifier": "television-of-the-stand-in",
    "createdAt": "2021-01-01T12:12:24Z",
    "lastSeenAt": "2022-01-01T13:43:34Z",
    "provides": "client,player,pubsub-player",
    "ownerId": None,
    "sourceTitle": None,
    "publicAddress": _PUBLIC_ADDRESS,
    "accessToken": None,
    "owned": True,
    "home": False,
    "synced": False,
    "relay": False,
    "presence": False,
    "httpsRequired": False,
    "publicAddressMatches": True,
    "dnsRebindingProtection": False,
    "natLoopbackSupported": False,
    "connections": [],
}

_FREE_OF_CHARGE: dict[str, object] = {
    "active": False,
    "subscribedAt": None,
    "status": "Inactive",
    "paymentService": None,
    "plan": None,
    "features": ["home", "federated-auth", "signin_notification", "two-factor-authentication"],
}

_PROFILE: dict[str, object] = {
    "autoSelectAudio": True,
    "defaultAudioLanguage": None,
    "defaultSubtitleLanguage": None,
    "autoSelectSubtitle": 1,
    "defaultSubtitleAccessibility": 0,
    "defaultSubtitleForced": 0,
}

_SERVICES: list[dict[str, object]] = [
    {
        "identifier": "metadata",
        "endpoint": "https://metadata.provider.plex.tv",
        "token": "service-token-of-metadata",
        "status": "online",
    },
    {
        "identifier": "lyricfind",
        "endpoint": "https://lyricfind.plex.tv/",
        "token": "service-token-of-lyricfind",
        "secret": "service-secret-of-lyricfind",
        "status": "online",
    },
]
