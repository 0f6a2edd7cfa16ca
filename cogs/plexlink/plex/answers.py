"""What an answer of plex.tv means: pure functions from status, headers and body to an outcome.

Decide by the HTTP status first and plex.tv's error code second, by a message only where there is no code. A status
that only plex.tv's own JSON error makes credible (401, 403, 404 come from firewalls and edge outages too) counts only
with one.
"""

from __future__ import annotations

import json
import re
import unicodedata
import zlib
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from ..errors import PlexError, PlexRefusedError, PlexSlowDownError, PlexUnavailableError, TokenRejectedError
from ..models import Account, Approved, Expired, Pending, Pin, PinAnswer, PlexServer
from ..secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BODY_BYTES = 64 * 1024
MAX_DEVICES_BYTES = 512 * 1024
"""An account's devices take some 450 bytes each, and nobody tidies them away."""

MAX_SERVERS_BYTES = 1024 * 1024
"""A server with its connections takes some 2 KB, a player half of that."""

_TOKEN = re.compile(r"[A-Za-z0-9._-]{10,4096}")
_CODE = re.compile(r"[A-Za-z0-9]{1,64}")
_DEVICE_ID = re.compile(r"[0-9]{1,19}")
_MACHINE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_DEEPEST_ELEMENT = 8
_NOT_AUTHENTICATED = 1001
_CODE_GONE = 1020
_HIGHEST_ERROR_CODE = 9999
_MOST_ERROR_CODES = 5
_LONGEST_LIFE = timedelta(days=1)
_BLANK = "\u115f\u1160\u2800\u303f\u3164\uffa0\ufffc\U00013441\U00013442\U0001d159"
"""Letters and symbols that are drawn as nothing, which Python knows no property of: fillers of Hangul and ideographs,
Braille without dots, the place of an object, blanks between hieroglyphs, a note without its head."""

_LONGEST_RETRY_AFTER_SECONDS = 3600.0
_GZIP_OR_ZLIB = 47


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, its body read and bounded."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    def __repr__(self) -> str:
        return f"Answer({self.status})"


def read_pin(answer: Answer) -> Pin:
    """Read the answer to "create a PIN".

    Raises:
        PlexRefusedError, PlexSlowDownError, PlexUnavailableError: there is no PIN.

    """
    body = _success(answer)
    pin_id, code, expires_in = body.get("id"), body.get("code"), _expires_in(body)
    if not _is_integer(pin_id) or not isinstance(code, str) or not _CODE.fullmatch(code) or not expires_in:
        raise PlexUnavailableError("plex.tv's PIN is not readable")
    return Pin(id=Secret(str(pin_id)), code=Secret(code), expires_in=expires_in)


def read_pin_state(answer: Answer, pin_id: Secret) -> PinAnswer:
    """Read the answer to "has this PIN been approved?".

    Raises:
        PlexRefusedError, PlexSlowDownError, PlexUnavailableError: it is not known.

    """
    if answer.status == HTTPStatus.GONE:
        return Expired()
    if answer.status == HTTPStatus.NOT_FOUND and _CODE_GONE in _error_codes(answer):
        return Expired()
    body = _success(answer)
    if str(body.get("id")) != pin_id.reveal():
        raise PlexUnavailableError("plex.tv's answer is about something else")
    token = body.get("authToken")
    return Pending(_expires_in(body)) if token is None else Approved(_token(token))


def read_account(answer: Answer) -> Account:
    """Read the answer to "whose token is this?"; only what PlexLink needs leaves the body, which holds secrets.

    Raises:
        TokenRejectedError: plex.tv does not accept the token.
        PlexRefusedError, PlexSlowDownError, PlexUnavailableError: it is not known.

    """
    _check_token_accepted(answer)
    body = _success(answer)
    account_id = body.get("id")
    if not _is_integer(account_id):
        raise PlexUnavailableError("plex.tv's account is not readable")
    return Account(id=Secret(str(account_id)), name=Secret(_name(body)), is_managed=body.get("restricted") is True)


def read_ping(answer: Answer) -> None:
    """Read the answer to "is this token alive?", which keeps it from dying of idleness.

    Raises:
        TokenRejectedError: plex.tv does not accept the token.
        PlexRefusedError, PlexSlowDownError, PlexUnavailableError: it is not known.

    """
    _check_token_accepted(answer)
    if not _success(answer).get("pong"):
        raise PlexUnavailableError("plex.tv's pong is not readable")


def read_device(answer: Answer, client_identifier: Secret) -> str | None:
    """Read the answer to "which devices are there?"; return the id of the one that signed in with our identifier.

    Nothing else leaves the body, which holds the tokens of all.

    Raises:
        TokenRejectedError: plex.tv does not accept the token.
        PlexRefusedError, PlexSlowDownError, PlexUnavailableError: it is not known.

    """
    _check_token_accepted(answer)
    _check_success(answer)
    device_id = _DeviceRow(client_identifier).find(answer.body)
    if device_id is not None and not is_device_id(device_id):
        raise PlexUnavailableError("plex.tv's device is not readable")
    return device_id


def read_servers(answer: Answer) -> list[PlexServer]:
    """Read the answer to "which media servers does the account reach?"; addresses and their tokens stay behind.

    Members lose a role by what is not in it: one entry that is not readable makes the whole say nothing.

    Raises:
        TokenRejectedError: plex.tv does not accept the token.
        PlexRefusedError, PlexSlowDownError, PlexUnavailableError: it is not known.

    """
    _check_token_accepted(answer)
    _check_success(answer)
    entries = _json(answer)
    if not isinstance(entries, list):
        raise PlexUnavailableError("plex.tv's servers are not a list")
    return [server for entry in entries if (server := _server(entry)) is not None]


def _server(entry: object) -> PlexServer | None:
    """Return a media server, or nothing for a device that is none."""
    provides = entry.get("provides") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(provides, str):
        raise PlexUnavailableError("plex.tv's server is not readable")
    if "server" not in provides.split(","):
        return None
    machine_id = entry.get("clientIdentifier")
    if not isinstance(machine_id, str) or not _MACHINE_ID.fullmatch(machine_id):
        raise PlexUnavailableError("plex.tv's server has no identifier")
    name = _shown(entry.get("name")) or "a Plex server"
    owner_id = None if entry.get("owned") is True else _owner_id(entry)
    return PlexServer(id=Secret(machine_id), name=Secret(name), owner_id=owner_id)


def _owner_id(entry: dict[str, object]) -> Secret:
    owner_id = entry.get("ownerId")
    if isinstance(owner_id, bool) or not isinstance(owner_id, int):
        raise PlexUnavailableError("plex.tv's server has no owner")
    return Secret(str(owner_id))


def is_device_id(text: str) -> bool:
    """Tell whether a text can stand for a device in a path."""
    return _DEVICE_ID.fullmatch(text) is not None


def read_device_removal(answer: Answer) -> None:
    """Read the answer to "remove this device". Any 2xx will do: `read_account` tells whether its token is dead.

    Raises:
        TokenRejectedError: plex.tv does not accept the token.
        PlexRefusedError, PlexSlowDownError, PlexUnavailableError: the device may still be there.

    """
    _check_token_accepted(answer)
    _check_success(answer)


def read_sign_out(answer: Answer) -> None:
    """Read the answer to "forget this token".

    Raises:
        TokenRejectedError: plex.tv has forgotten it already.
        PlexRefusedError, PlexSlowDownError, PlexUnavailableError: it may still be alive.

    """
    _check_token_accepted(answer)
    if answer.status != HTTPStatus.NO_CONTENT:
        # Anything else with 2xx may be a firewall's or the edge's; if it was plex.tv's, the next try is told with 401.
        raise _failure(answer)


def decompress(body: bytes, encoding: str, *, limit: int = MAX_BODY_BYTES) -> bytes:
    """Return the plain body of at most `limit` bytes.

    Raises:
        PlexUnavailableError: it is longer, damaged, or in an encoding that we did not ask for.

    """
    if not body or encoding.lower() in {"", "identity"}:
        plain = body
    elif encoding.lower() in {"gzip", "x-gzip", "deflate"}:
        plain = _inflate(body, limit)
    else:
        raise PlexUnavailableError("plex.tv's answer is in an unknown encoding")
    if len(plain) > limit:
        raise PlexUnavailableError("plex.tv's answer is too long")
    return plain


def _inflate(body: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        plain = inflater.decompress(body, limit + 1)
    except zlib.error:
        raise PlexUnavailableError("plex.tv's answer is damaged") from None
    if len(plain) <= limit and not inflater.eof:
        raise PlexUnavailableError("plex.tv's answer is incomplete")
    return plain


class _DeviceRow:
    """The search for one device in the body of /devices.xml."""

    def __init__(self, client_identifier: Secret) -> None:
        self._client_identifier = client_identifier
        self._path: list[str] = []
        self._ids: list[str] = []

    def find(self, body: bytes) -> str | None:
        """Return the id of the first row that is ours; None only if plex.tv's list was read to its end without one."""
        parser = expat.ParserCreate("UTF-8")
        parser.StartDoctypeDeclHandler = self._refuse  # and with it every entity that could grow
        parser.StartElementHandler = self._enter
        parser.EndElementHandler = self._leave
        try:
            parser.Parse(body, True)  # noqa: FBT003 - pyexpat knows its arguments by position only
        except expat.ExpatError:
            raise PlexUnavailableError("plex.tv's devices are not XML") from None
        return self._ids[0] if self._ids else None

    def _enter(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        if self._path[0] != "MediaContainer" or len(self._path) > _DEEPEST_ELEMENT:
            self._refuse()
        if self._path[1:] == ["Device"] and attributes.get("clientIdentifier") == self._client_identifier.reveal():
            self._ids.append(attributes.get("id", ""))

    def _leave(self, _: str) -> None:
        self._path.pop()

    def _refuse(self, *_: object) -> None:
        raise PlexUnavailableError("plex.tv's devices are not readable")


def _success(answer: Answer) -> dict[str, Any]:
    _check_success(answer)
    body = _json(answer)
    if not isinstance(body, dict):
        raise PlexUnavailableError("plex.tv's answer is not a JSON object")
    return body


def _check_success(answer: Answer) -> None:
    if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        raise _failure(answer)


def _check_token_accepted(answer: Answer) -> None:
    if _is_token_rejected(answer):
        raise TokenRejectedError("plex.tv does not accept the token")


def _is_token_rejected(answer: Answer) -> bool:
    """Judge the token, for every call that sends one; members lose their link by it, so only plex.tv's own words count.

    422 "Invalid token", without a code that anybody recorded, is what python-plexapi takes for 401 (myplex.py:266).
    """
    if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return _is_plex_error(answer) and b"invalid token" in answer.body.lower()
    return answer.status == HTTPStatus.UNAUTHORIZED and _NOT_AUTHENTICATED in _error_codes(answer)


def _failure(answer: Answer) -> PlexError:
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return PlexSlowDownError(_retry_after(answer.headers))
    is_client_error = HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
    if is_client_error and _is_plex_error(answer):
        codes = ", ".join(str(code) for code in sorted(_error_codes(answer))[:_MOST_ERROR_CODES]) or "none"
        return PlexRefusedError(f"plex.tv refused: HTTP {answer.status}, code {codes}")
    return PlexUnavailableError(f"plex.tv gave no usable answer: HTTP {answer.status}")


def _is_plex_error(answer: Answer) -> bool:
    try:
        body = _json(answer)
    except PlexUnavailableError:
        return False
    if not isinstance(body, dict):
        return False
    errors = body.get("errors")
    return isinstance(body.get("error"), str) or (
        isinstance(errors, list) and any(isinstance(error, dict) for error in errors)
    )


def _error_codes(answer: Answer) -> set[int]:
    """Return plex.tv's error codes; they are logged, so a number that is too long for one (a PIN id is) is left out."""
    try:
        body = _json(answer)
    except PlexUnavailableError:
        return set()
    errors = body.get("errors") if isinstance(body, dict) else None
    if not isinstance(errors, list):
        return set()
    return {
        error["code"]
        for error in errors
        if isinstance(error, dict) and _is_integer(error.get("code"), highest=_HIGHEST_ERROR_CODE)
    }


def _json(answer: Answer) -> Any:  # noqa: ANN401 - JSON is anything
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        raise PlexUnavailableError(f"plex.tv's answer is not JSON: HTTP {answer.status}") from None


def _is_integer(value: object, *, highest: int = 2**63 - 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= highest


def _expires_in(body: dict[str, Any]) -> timedelta | None:
    seconds = body.get("expiresIn")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return None
    return timedelta(seconds=seconds) if 0 <= seconds <= _LONGEST_LIFE.total_seconds() else None


def _token(value: object) -> Secret:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise PlexUnavailableError("plex.tv's token is not plausible")
    return Secret(value)


def _name(body: dict[str, Any]) -> str:
    # A managed profile has no user name, only a title.
    names = (_shown(body.get(key)) for key in ("username", "title", "friendlyName"))
    return next(filter(None, names), "a Plex account")


def _shown(name: object) -> str | None:
    """Return a name if there is something to read in it."""
    if not isinstance(name, str) or not _can_be_seen(name):
        return None
    # JSON can hold half of a surrogate pair, which nothing behind us could encode.
    return name.encode(errors="replace").decode()


def _can_be_seen(name: str) -> bool:
    """Tell whether there is anything to read in a name: marks that combine with nothing and fillers are blank."""
    return any(unicodedata.category(each)[0] not in "CZM" and each not in _BLANK for each in name)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read seconds, or an HTTP date against the answer's own; nonsense is as good as no header."""
    header = headers.get("Retry-After", "")
    try:
        seconds = float(header)
    except ValueError:
        try:
            until = parsedate_to_datetime(header) - parsedate_to_datetime(headers.get("Date", ""))
        except (ValueError, TypeError, OverflowError):
            return None
        seconds = until.total_seconds()
    return min(seconds, _LONGEST_RETRY_AFTER_SECONDS) if seconds >= 0 else None
