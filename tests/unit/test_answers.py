"""What answers of plex.tv mean: the tables of the contract, the recordings, and everything that is none of it."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plexlink.errors import PlexError, PlexRefusedError, PlexSlowDownError, PlexUnavailableError, TokenRejectedError
from plexlink.models import Account, Approved, Expired, Pending, Pin
from plexlink.plex.answers import (
    Answer,
    decompress,
    read_account,
    read_device,
    read_device_removal,
    read_pin,
    read_pin_state,
    read_ping,
    read_servers,
    read_sign_out,
)
from plexlink.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDINGS = Path(__file__).parent.parent / "data" / "plex"

PIN_ID = Secret("1174342418")
CLIENT = Secret("0a1b2c3d")
TOKEN = "aB3-dE6_gH9.jK2mN5pQ"

PENDING = {"id": 1174342418, "code": "KYLX", "expiresIn": 876, "authToken": None, "newRegistration": None}
APPROVED = PENDING | {"authToken": TOKEN, "newRegistration": False}
USER = {"id": 12345, "uuid": "212acf24b07315e5", "username": "alice", "title": "Alice", "restricted": False}

HTML = b"<!DOCTYPE html><html><title>Just a moment...</title></html>"
GATEWAY = b'{"message":"Forbidden"}'


def error(code: object, **others: object) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": "Some words"} | others]}).encode()


def recorded(name: str) -> bytes:
    return (RECORDINGS / name).read_bytes()


def answer(status: int, body: object = b"", headers: dict[str, str] | None = None) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, headers or {}, raw)


def ask(said: Answer) -> object:
    return read_pin_state(said, PIN_ID)


def find(said: Answer) -> object:
    return read_device(said, CLIENT)


READERS: dict[str, Callable[[Answer], object]] = {
    "create": read_pin,
    "ask": ask,
    "account": read_account,
    "ping": read_ping,
    "device": find,
    "device_removal": read_device_removal,
    "servers": read_servers,
    "sign_out": read_sign_out,
}
BLIND = {read_sign_out, read_device_removal}
readers = pytest.mark.parametrize("read", READERS.values(), ids=READERS)


def outcome(read: Callable[[Answer], object], said: Answer) -> object:
    """Return what is read, or the class of what is raised."""
    try:
        return read(said)
    except PlexError as raised:
        return type(raised)


# --- creating a PIN: section 1.4 ---


@pytest.mark.parametrize("status", [200, 201, 202, 299])
def test_any_2xx_with_id_code_and_expiry_is_a_pin(status: int) -> None:
    body = {"id": 2**53 + 1, "code": "KYLX", "expiresIn": 900}
    assert read_pin(answer(status, body)) == Pin(
        id=Secret(str(2**53 + 1)), code=Secret("KYLX"), expires_in=timedelta(seconds=900)
    )


@pytest.mark.parametrize(
    ("recording", "pin_id", "code", "seconds"),
    [
        ("pin_create_201_short_2025_toronto.json", "1174342418", "KYLX", 900),
        ("pin_create_201_strong_2026.json", "1899765704", "l91xft5ypr1n7588alsymxoy8", 1800),
    ],
)
def test_recorded_new_pins_are_read(recording: str, pin_id: str, code: str, seconds: int) -> None:
    pin = read_pin(answer(201, recorded(recording)))
    assert (pin.id.reveal(), pin.code.reveal(), pin.expires_in) == (pin_id, code, timedelta(seconds=seconds))


WRONG_IDS = [None, "", "abc", "1174342418", 1.5, -1, True, [], {}, 2**63, float("nan"), float("inf")]
WRONG_CODES = [None, "", 7, True, [], {}, "K LX", "KY\nX", "<b>", "a" * 65, "KYLX\n", "\u041aYLX", "../x"]
WRONG_EXPIRIES = [None, "900", True, [], {}, -1, 0, 86401, 10**30, float("nan"), float("inf"), float("-inf")]


@pytest.mark.parametrize(
    ("member", "value"),
    [("id", value) for value in WRONG_IDS]
    + [("code", value) for value in WRONG_CODES]
    + [("expiresIn", value) for value in WRONG_EXPIRIES],
)
def test_new_pin_with_a_wrong_or_missing_member_is_no_answer(member: str, value: object) -> None:
    for body in (PENDING | {member: value}, {key: value for key, value in PENDING.items() if key != member}):
        assert outcome(read_pin, answer(201, body)) is PlexUnavailableError


# --- asking about a PIN: section 2.1 ---


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, PENDING, Pending(timedelta(seconds=876))),
        (200, APPROVED, Approved(Secret(TOKEN))),
        (200, APPROVED | {"authToken": "x" * 4096}, Approved(Secret("x" * 4096))),
        (404, error(1020), Expired()),
        (404, recorded("error_404_pin_expired_or_wrong_client.json"), Expired()),
        (410, b"", Expired()),
        (404, b"", PlexUnavailableError),
        (404, GATEWAY, PlexUnavailableError),
        (404, error(1001), PlexRefusedError),
        (400, recorded("error_400_client_identifier_missing.json"), PlexRefusedError),
        (401, error(1001), PlexRefusedError),
        (403, {"error": "Forbidden"}, PlexRefusedError),
        (401, GATEWAY, PlexUnavailableError),
        (403, HTML, PlexUnavailableError),
        (429, recorded("error_429_rate_limit.json"), PlexSlowDownError),
        (429, b"", PlexSlowDownError),
        (500, error(1020), PlexUnavailableError),
        (599, error(1001), PlexUnavailableError),
        (200, b"", PlexUnavailableError),
        (204, b"", PlexUnavailableError),
        (301, PENDING, PlexUnavailableError),
        (100, b"", PlexUnavailableError),
    ],
)
def test_asking_about_a_pin_follows_the_table(status: int, body: object, expected: object) -> None:
    assert outcome(ask, answer(status, body)) == expected


def test_recorded_linked_pin_is_approved() -> None:
    body = json.loads(recorded("pin_get_200_linked_2022.json"))
    body["authToken"] = TOKEN  # the recording's own is anonymised
    assert read_pin_state(answer(200, body), Secret(str(body["id"]))) == Approved(Secret(TOKEN))


WRONG_TOKENS = ["", "null", "x" * 9, "x" * 4097, "with a space in it", "token-with-trailing-newline\n"]
WRONG_TOKENS += ["token\r\nX-Evil: header", "t\u00f6ken-with-umlaut", "token;with;semicolons"]
NO_TOKENS = [False, True, 0, 12345678901234567890, 1.5, [], {}, [TOKEN], {"token": TOKEN}]


@pytest.mark.parametrize("token", WRONG_TOKENS + NO_TOKENS)
def test_implausible_token_is_no_answer_and_never_an_approval(token: object) -> None:
    assert outcome(ask, answer(200, APPROVED | {"authToken": token})) is PlexUnavailableError


def test_pin_state_without_a_token_member_is_pending() -> None:
    assert ask(answer(200, {"id": 1174342418})) == Pending(None)


@pytest.mark.parametrize("value", [*WRONG_EXPIRIES[:6], *WRONG_EXPIRIES[7:]])
def test_unreadable_expiry_of_a_pending_pin_is_not_known(value: object) -> None:
    assert ask(answer(200, PENDING | {"expiresIn": value})) == Pending(None)


def test_pending_pin_may_have_no_seconds_left() -> None:
    assert ask(answer(200, PENDING | {"expiresIn": 0})) == Pending(timedelta(0))


@pytest.mark.parametrize("pin_id", [1, None, True, "other", 1174342418.0, [1174342418], {}])
def test_answer_about_another_pin_is_no_answer_even_with_a_token(pin_id: object) -> None:
    assert outcome(ask, answer(200, APPROVED | {"id": pin_id})) is PlexUnavailableError


# --- reading the account: section 5.1 ---


@pytest.mark.parametrize(
    ("body", "name", "is_managed"),
    [
        (USER, "alice", False),
        (USER | {"username": ""}, "Alice", False),
        (USER | {"username": None}, "Alice", False),
        (USER | {"username": " \t", "title": 7, "friendlyName": "Al"}, "Al", False),
        (USER | {"username": None, "title": "Kid", "restricted": True}, "Kid", True),
        (USER | {"username": "\u3164\u2800 \u0301\u200b\u303f\ufffc\U00013441\U0001d159", "title": "Al"}, "Al", False),
        ({"id": 12345}, "a Plex account", False),
        (USER | {"username": [], "title": {}, "friendlyName": None}, "a Plex account", False),
        (json.loads(recorded("user_200_free.json")), "user@example.com", False),
        (json.loads(recorded("user_200_plexpass.json")), "user@example.com", False),
    ],
)
def test_account_is_its_id_a_name_and_whether_it_is_managed(body: object, name: str, *, is_managed: bool) -> None:
    assert read_account(answer(200, body)) == Account(id=Secret("12345"), name=Secret(name), is_managed=is_managed)


@pytest.mark.parametrize("account_id", WRONG_IDS)
def test_account_with_a_wrong_id_is_no_answer(account_id: object) -> None:
    assert outcome(read_account, answer(200, USER | {"id": account_id})) is PlexUnavailableError


@pytest.mark.parametrize("restricted", [None, 0, "", "false", [], {}])
def test_restricted_counts_only_as_true(restricted: object) -> None:
    assert not read_account(answer(200, USER | {"restricted": restricted})).is_managed


def test_account_keeps_none_of_the_secrets_in_the_body() -> None:
    body = USER | {"authToken": "planted-token", "pin": "4711", "services": [{"token": "planted-service"}]}
    account = read_account(answer(200, body))
    assert {account.id.reveal(), account.name.reveal()} == {"12345", "alice"}


def test_account_name_can_be_sealed_and_compared_whatever_plex_says() -> None:
    # json.loads lets half of a surrogate pair through; nothing behind this module can encode one.
    account = read_account(Answer(200, {}, b'{"id":1,"username":"\\ud83d"}'))
    account.name.reveal().encode()
    assert account.name == account.name


@pytest.mark.parametrize(
    ("status", "body", "of_account", "of_sign_out"),
    [
        (401, recorded("error_401_invalid_token.json"), TokenRejectedError, TokenRejectedError),
        (401, {"errors": [{"code": 7}, {"code": 1001}]}, TokenRejectedError, TokenRejectedError),
        (401, {"error": "Unauthorized"}, PlexRefusedError, PlexRefusedError),
        (401, error("1001"), PlexRefusedError, PlexRefusedError),
        (422, error(1, message="Invalid token"), TokenRejectedError, TokenRejectedError),
        (422, {"error": "Invalid token"}, TokenRejectedError, TokenRejectedError),
        (401, GATEWAY, PlexUnavailableError, PlexUnavailableError),
        (422, error(1001), PlexRefusedError, PlexRefusedError),
        (422, {"error": "signature verification failed"}, PlexRefusedError, PlexRefusedError),
        (422, b"Invalid token", PlexUnavailableError, PlexUnavailableError),
        (403, error(1001), PlexRefusedError, PlexRefusedError),
        (403, HTML, PlexUnavailableError, PlexUnavailableError),
        (404, error(1020), PlexRefusedError, PlexRefusedError),
        (429, error(1003), PlexSlowDownError, PlexSlowDownError),
        (498, error(7), PlexRefusedError, PlexRefusedError),
        (500, error(1001), PlexUnavailableError, PlexUnavailableError),
        (302, b"", PlexUnavailableError, PlexUnavailableError),
        (200, HTML, PlexUnavailableError, PlexUnavailableError),
        (204, b"", PlexUnavailableError, None),
        (200, {}, PlexUnavailableError, PlexUnavailableError),
    ],
)
def test_calls_with_a_token_follow_the_table(
    status: int, body: object, of_account: object, of_sign_out: object
) -> None:
    said = answer(status, body)
    assert (outcome(read_account, said), outcome(read_sign_out, said)) == (of_account, of_sign_out)
    if status >= 300:
        others = (read_ping, find, read_device_removal, read_servers)
        assert {outcome(read, said) for read in others} == {of_account}


# --- keeping it alive: section 5.2 ---


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (recorded("ping_200.json"), None),
        ({"pong": 1, "more": []}, None),
        ({"pong": False}, PlexUnavailableError),
        ({}, PlexUnavailableError),
        (True, PlexUnavailableError),
        (b"<pong>1</pong>", PlexUnavailableError),
    ],
)
def test_only_a_pong_says_that_the_token_is_alive(body: object, expected: object) -> None:
    assert outcome(read_ping, answer(200, body)) is expected


# --- the servers that an account reaches: section 5.3 ---

SERVER = {"name": "Box", "clientIdentifier": "abc-1", "provides": "server", "owned": True, "accessToken": "planted"}
SHARED = {"owned": False, "ownerId": 4711}
PLAYER = {"name": "TV", "clientIdentifier": "tv", "provides": "player,pubsub-player"}


@pytest.mark.parametrize(
    ("recording", "expected"),
    [("resources_200_min.json", [("client_id2", "Box", True)])],
)
def test_recorded_servers_are_read(recording: str, expected: list[tuple[str, str, bool]]) -> None:
    servers = read_servers(answer(200, recorded(recording)))
    assert [(server.id.reveal(), server.name.reveal(), server.is_owned) for server in servers] == expected


def test_what_is_no_server_is_left_out_and_an_account_may_have_none() -> None:
    shared = {**SERVER, **SHARED, "clientIdentifier": "abc-2", "provides": "player,server", "name": None}
    own, another = read_servers(answer(200, [PLAYER, SERVER, shared]))
    assert (own.id.reveal(), own.is_owned, own.owner_id) == ("abc-1", True, None)
    assert (another.id.reveal(), another.is_owned, another.owner_id) == ("abc-2", False, Secret("4711"))
    assert another.name.reveal() == "a Plex server"
    assert read_servers(answer(200, [PLAYER])) == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        None,
        "",
        HTML,
        [None],
        [[]],
        [SERVER, "x"],
        [{**SERVER, "provides": None}],
        [{"name": "Box"}],
        *([{**SERVER, **SHARED, "ownerId": wrong}] for wrong in (None, "4711", True)),
        *([{**SERVER, "clientIdentifier": wrong}] for wrong in (None, "", 7, "a b", "a" * 129, "../x", "a\n")),
    ],
)
def test_one_entry_that_is_not_readable_makes_the_whole_list_say_nothing(body: object) -> None:
    assert outcome(read_servers, answer(200, body)) is PlexUnavailableError


# --- finding and removing our device: section 5.4 ---

DEVICES = '<?xml version="1.0" encoding="UTF-8"?><MediaContainer size="1">{}</MediaContainer>'
OURS = '<Device name="Discord: alice" clientIdentifier="0a1b2c3d" id="123456" token="planted"/>'
OTHERS = '<Device clientIdentifier="other" id="7" token="planted"><Connection uri="http://a"/></Device>'


def devices(rows: str, **replaced: str) -> bytes:
    text = DEVICES.format(rows)
    for old, new in replaced.items():
        text = text.replace(old, new)
    return text.encode()


@pytest.mark.parametrize(
    ("rows", "device_id"),
    [
        (OURS, "123456"),
        (OTHERS + OURS + OTHERS, "123456"),
        (OURS + OURS.replace("123456", "8"), "123456"),
        (OURS.replace("123456", "9" * 19), "9" * 19),
        (OTHERS, None),
        ("", None),
        (OURS.replace("clientIdentifier", "identifier"), None),
        (OURS.replace("0a1b2c3d", "0A1B2C3D"), None),
        (OURS.replace("Device", "Server"), None),
        (f"<Device>{OURS}</Device>", None),
    ],
)
def test_device_is_the_row_with_our_identifier(rows: str, device_id: str | None) -> None:
    assert find(answer(200, devices(rows))) == device_id


@pytest.mark.parametrize("number", [1, 2, 24, 26])
def test_recorded_device_is_found(number: int) -> None:
    said = answer(200, recorded("devices_xml_200.xml"))
    assert read_device(said, Secret(str(number))) == "123456"
    assert read_device(said, Secret("the-bot")) is None


@pytest.mark.parametrize("device_id", ["", " 1", "1 ", "x", "-1", "1.5", "../user", "\u0661", "9" * 20, None])
def test_device_whose_id_is_no_number_is_no_answer(device_id: str | None) -> None:
    ours = OURS.replace(' id="123456"', "" if device_id is None else f' id="{device_id}"')
    assert outcome(find, answer(200, devices(ours))) is PlexUnavailableError


LAUGHS = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "ha"}">' for n in range(20))


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{}", HTML, b"<html><body>Just a moment...</body></html>", b'<errors><error code="1001"/></errors>'),
        *(b"<MediaContainer/><MediaContainer/>", b"<Device/>"),
        devices(OURS)[:-3],
        devices(OURS) + b"<",
        devices(OURS) + b"\x00",
        devices(OURS + "&a1;"),
        devices(OURS + "&#0;"),
        devices(OURS + '<Device clientIdentifier="&a1;"/>'),
        devices(OURS + "<x:Device"),
        devices(OURS).replace(b"alice", b"\xff"),
        devices(OURS).replace(b"<MediaContainer", b"<!DOCTYPE MediaContainer><MediaContainer"),
        devices(OURS).replace(b"<MediaContainer", b"<!DOCTYPE html SYSTEM 'file:///etc/passwd'><MediaContainer"),
        devices("&a19;" + OURS).replace(b"<MediaContainer", f"<!DOCTYPE x [{LAUGHS}]><MediaContainer".encode()),
        devices("<a>" * 8 + "</a>" * 8 + OURS),
        b"<MediaContainer>" * 60_000,
    ],
    ids=lambda body: body[-24:],
)
def test_what_is_no_list_of_devices_says_nothing_about_ours(body: bytes) -> None:
    assert outcome(find, answer(200, body)) is PlexUnavailableError


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_mark_of_xml_does_no_harm(encoding: str) -> None:
    assert find(answer(200, devices(OTHERS + OURS).decode().encode(encoding))) == "123456"


@pytest.mark.parametrize("encoding", ["klingon", "utf-7", "rot13", "iso-8859-1", "utf-16"])
def test_devices_are_read_as_utf_8_whatever_their_first_line_says(encoding: str) -> None:
    assert find(answer(200, devices(OURS, **{"UTF-8": encoding}))) == "123456"


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_2xx_has_removed_the_device(status: int) -> None:
    assert outcome(read_device_removal, answer(status)) is None


# --- the error list: section 7 ---


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, error(1000), PlexRefusedError),
        (404, error(1020), PlexRefusedError),
        (422, {"error": "thumbprint already taken"}, PlexRefusedError),
        (429, error(1003), PlexSlowDownError),
        (498, b"", PlexUnavailableError),
        (200, HTML, PlexUnavailableError),
    ],
)
def test_creating_a_pin_follows_the_error_list(status: int, body: object, expected: object) -> None:
    assert outcome(read_pin, answer(status, body)) is expected


NO_ERRORS = [{"errors": []}, {"errors": "1020"}, {"errors": [1020]}, {"errors": None}, {"error": 1020}, {"code": 1020}]


@pytest.mark.parametrize("body", [*NO_ERRORS, [{"code": 1020}], "1020", 1020, None])
def test_error_in_another_shape_is_not_believed(body: object) -> None:
    assert outcome(ask, answer(404, body)) is PlexUnavailableError


@pytest.mark.parametrize("code", ["1020", 1020.0, True, None, [1020], {"code": 1020}])
def test_code_of_a_wrong_type_is_no_expiry(code: object) -> None:
    assert outcome(ask, answer(404, error(code))) is PlexRefusedError


def test_one_of_several_errors_may_say_that_the_code_is_gone() -> None:
    assert ask(answer(404, {"errors": [7, {"code": 1}, {"code": 1020}]})) == Expired()


# --- bodies ---


NESTS = [b"[" * 30000 + b"]" * 30000, b'{"a":' * 10000 + b"1" + b"}" * 10000]
NUMBERS = [b'{"id":' + b"9" * 5000 + b"}", b'{"id":NaN}', b'{"id":-Infinity}', b"1"]
OTHERS_THAN_OBJECTS = [b"\xff\xfe\x00\x00", b"\x00", b'{"id":1', b"null", b"[]", b'"text"', b"<pin/>"]


@readers
@pytest.mark.parametrize("body", NESTS + NUMBERS + OTHERS_THAN_OBJECTS, ids=lambda body: body[:12])
def test_body_that_is_not_the_object_we_asked_for_is_no_answer(read: Callable[[Answer], object], body: bytes) -> None:
    if not (read is read_servers and body == b"[]"):  # that is what an account without a server reaches
        assert outcome(read, Answer(200, {}, body)) is PlexUnavailableError or read in BLIND


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_mark_does_no_harm(encoding: str) -> None:
    said = Answer(200, {}, json.dumps(PENDING).encode(encoding))
    assert ask(said) == Pending(timedelta(seconds=876))


# --- Retry-After ---

DATE = "Mon, 16 Nov 2026 13:30:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "99999999"}, 3600.0),
        ({"Retry-After": "inf"}, 3600.0),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Mon, 16 Nov 2026 13:32:00 GMT", "Date": DATE}, 120.0),
        ({"Retry-After": "Mon, 16 Nov 2026 14:32:00 +0100", "Date": DATE}, 120.0),
        ({"Retry-After": "Mon, 16 Nov 2026 13:29:00 GMT", "Date": DATE}, None),
        ({"Retry-After": "Mon, 16 Nov 2026 13:32:00 GMT"}, None),
        ({"Retry-After": "Mon, 16 Nov 2026 13:32:00 -0000", "Date": DATE}, None),
        ({"Retry-After": "Mon, 16 Nov 99999999999999999999 13:32:00 GMT", "Date": DATE}, None),
        ({"Retry-After": "Mon, 16 Nov 2026 13:32:00 +99999999999999999999", "Date": DATE}, None),
        ({"Retry-After": "Mon, 16 Nov 2026 13:32:00 GMT", "Date": "Mon, 16 Nov 2026 13:30:00 +9999999999999"}, None),
    ],
    ids=lambda value: str(value)[:90],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(headers: dict[str, str], seconds: float | None) -> None:
    with pytest.raises(PlexSlowDownError) as raised:
        ask(answer(429, error(1003), headers))
    assert raised.value.retry_after_seconds == seconds


# --- compression ---

PLAIN = b'{"pong":true}'


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (PLAIN, ""),
        (PLAIN, "identity"),
        (gzip.compress(PLAIN, mtime=0), "gzip"),  # with the time in it, a test's name would change by the second
        (gzip.compress(PLAIN, mtime=0), "GZip"),
        (gzip.compress(PLAIN, mtime=0), "x-gzip"),
        (zlib.compress(PLAIN), "deflate"),
    ],
)
def test_body_is_decompressed_as_its_encoding_says(body: bytes, encoding: str) -> None:
    assert decompress(body, encoding) == PLAIN


@pytest.mark.parametrize("other", [None, 100_000])
@pytest.mark.parametrize(("encoding", "pack"), [("", bytes), ("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_64_kib_are_the_limit_after_decompression(
    encoding: str, pack: Callable[[bytes], bytes], other: int | None
) -> None:
    limit, others = b"x" * (other or 65536), {"limit": other} if other else {}
    assert decompress(pack(limit), encoding, **others) == limit
    with pytest.raises(PlexUnavailableError):
        decompress(pack(limit + b"x"), encoding, **others)


def test_gzip_bomb_is_refused_before_it_unfolds() -> None:
    bomb = gzip.compress(bytes(50 * 2**20))
    tracemalloc.start()
    try:
        with pytest.raises(PlexUnavailableError, match="too long"):
            decompress(bomb, "gzip")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2**20


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "gzip,identity", "x", "utf-8"])
def test_encoding_that_we_did_not_ask_for_is_no_answer(encoding: str) -> None:
    with pytest.raises(PlexUnavailableError):
        decompress(PLAIN, encoding)
