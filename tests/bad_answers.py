"""Answers of plex.tv from which nothing follows, and answers that only look so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plexlink_bot.sandbox.plex_tv import (
    ABSENT,
    AfterStoring,
    Body,
    Bom,
    DeepJson,
    Empty,
    ForeignJson,
    GzipBomb,
    Html,
    Huge,
    RateLimited,
    Redirect,
    Relabelled,
    Reset,
    ServerError,
    Truncated,
    WrongTypes,
)

if TYPE_CHECKING:
    from plexlink_bot.sandbox.plex_tv import Fault

SAYS_NOTHING: dict[str, Fault] = {
    "500": ServerError(500),
    "502": ServerError(502),
    "503": ServerError(503),
    "503 after the work is done": AfterStoring(ServerError(503)),
    "200 with a page": Html(200),
    "401 with a page": Html(401),
    "403 with a page": Html(403),
    "404 with a page": Html(404),
    "200 with nothing": Empty(200),
    "401 with nothing": Empty(401),
    "403 with nothing": Empty(403),
    "404 with nothing": Empty(404),
    "422 with nothing": Empty(422),
    "400 of a stranger": ForeignJson(400),
    "401 of a stranger": ForeignJson(401),
    "403 of a stranger": ForeignJson(403),
    "404 of a stranger": ForeignJson(404),
    "422 of a stranger": ForeignJson(422),
    "404 with a list of no errors": Body(b'{"errors":[]}', status=404),
    "404 whose code is a word": Body(b'{"errors":"1020"}', status=404),
    "429": RateLimited(),
    "429 for 0 s": RateLimited(0),
    "429 for 20 s": RateLimited(20),
    "429 for nonsense": RateLimited("a while, \xe4"),
    "reset at once": Reset(),
    "reset after the head": Reset(after="headers"),
    "reset in the body": Reset(after="body"),
    "truncated": Truncated(),
    "50 MB": Huge(),
    "50 MB and then an error": Body(b" " * 2**20, status=404),
    "gzip bomb": GzipBomb(),
    "damaged gzip": Body(b"\x1f\x8b damaged", encoding="gzip"),
    "unknown encoding": Body(b"{}", encoding="br"),
    "deep JSON": DeepJson(),
    "deep JSON in an error": Body(b"[" * 60_000, status=404),
    "JSON of null": Body(b"null"),
    "JSON that is a list": Body(b"[]"),
    "bytes that are no text": Body(b"\xff\xfe\xfd{"),
    "redirect in a circle": Redirect(),
    "redirect to elsewhere": Redirect("http://127.0.0.1:9/"),
    "permanent redirect": Redirect("https://plex.example/", status=308),
    "304": Empty(304),
    "members of the wrong types": WrongTypes(id="x", code=7, expiresIn="soon", authToken=12),
    "members that are null": WrongTypes(id=None, code=None, expiresIn=None, authToken=""),
    "members out of range": WrongTypes(id=-1, code="", expiresIn=-1, authToken="short"),
    "no members": WrongTypes(id=ABSENT, code=ABSENT, expiresIn=ABSENT, authToken=ABSENT),
}

HARMLESS: dict[str, Fault] = {
    "a byte order mark": Bom(),
    "JSON called a page": Relabelled("text/html; charset=utf-8"),
    "JSON without a type": Relabelled(""),
    "UTF-16 called UTF-8": Relabelled("application/json; charset=utf-8", "utf-16"),
    "a charset that does not exist": Relabelled("application/json; charset=klingon"),
    "members that nobody knows": WrongTypes(warnings=[], product=7, expiresAt="yesterday", location=None),
    "an end that is long over": WrongTypes(expiresAt="2001-01-01T00:00:00Z", createdAt=0),
}
