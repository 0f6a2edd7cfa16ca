"""The pages of the stand-in of plex.tv on which a person approves a code, and the two questions of their script.

    POST page/code      {"page", "code"}             -> 200, who asks, for how long, and the accounts to choose from
    POST page/approve   {"page", "code", "account"}  -> 204

`page` is "link" for 4-character codes or "auth" for strong ones; "auth" wants `clientID` and `product` as well.
They stand beside the API: no fault, delay or limit meets them, and they are not among the stand-in's requests.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from .plex_answers import (
    ALICE,
    BOB,
    JAMIE,
    KID,
    NOT_AUTHENTICATED,
    PIN_IS_GONE,
    Account,
    Answer,
    CodeError,
    Pin,
    PlexError,
    RefusalError,
    json_answer,
)
from .plex_requests import read_json
from .site import page_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class SampleAccount:
    """An account to approve with; `about` is the line that says what kind it is."""

    account: Account
    about: str

    @property
    def key(self) -> str:
        """What the page calls it when it approves."""
        return self.account.uuid

    @property
    def name(self) -> str:
        """What people call it."""
        return self.account.title or self.account.username


SAMPLES = (
    SampleAccount(ALICE, "An ordinary account. Choose this one to see a link succeed."),
    SampleAccount(KID, "A managed profile of a Plex Home. It cannot be linked."),
    SampleAccount(BOB, "An account that is linked to another member already."),
    SampleAccount(JAMIE, "Owns a Plex server, Home Cinema, which the ordinary account may use."),
)

# The pages say these two in words only (contract, section 3); status and code are ours.
CANNOT_COMPLETE = PlexError(400, 1000, "We were unable to complete this request")
CANNOT_AUTHORIZE = PlexError(403, 1001, "Unable to authorize")
NOT_UNDERSTOOD = PlexError(400, 1000, "The request is not a JSON object of the right members")
TOO_LARGE = PlexError(413, 1000, "The request is too large")

_SHORT_CODE_LENGTH = 4
_FILES = ("icon.svg", "page.css", "plex.css", "plex.js")


class Pages:
    """The routes of the pages. `pin` and `approve` raise CodeError for a code that they do not take."""

    def __init__(
        self,
        *,
        pin: Callable[[str], Pin],
        approve: Callable[[str, Account], object],
        now: Callable[[], datetime],
        accounts: Sequence[SampleAccount],
    ) -> None:
        self._pin = pin
        self._approve = approve
        self._now = now
        self._accounts = {sample.key: sample for sample in accounts}

    def routes(self) -> list[web.RouteDef]:
        """Return what is served. Every page is in the root folder, so that what it names by itself is found."""
        files = {f"/{name}": name for name in _FILES} | dict.fromkeys(("/", "/link", "/auth"), "plex.html")
        return [
            *(web.get(path, functools.partial(_send, name=name)) for path, name in files.items()),
            *(web.get(f"/{page}/", functools.partial(_redirect, page=page)) for page in ("link", "auth")),
            web.route("*", "/page/code", functools.partial(self._answer, perform=self._show_code)),
            web.route("*", "/page/approve", functools.partial(self._answer, perform=self._approve_code)),
        ]

    async def _answer(
        self, request: web.Request, *, perform: Callable[[Mapping[str, object]], Answer]
    ) -> web.StreamResponse:
        try:
            return perform(await _read_question(request)).response()
        except RefusalError as refusal:
            return refusal.error.answer().response()
        except CodeError:
            return PIN_IS_GONE.answer().response()

    def _show_code(self, question: Mapping[str, object]) -> Answer:
        pin = self._pending_pin(question)
        return json_answer(
            {
                "code": pin.code,
                "product": pin.product,
                "deviceName": pin.device_name,
                "expiresIn": pin.seconds_left(self._now()),
                "accounts": [
                    {"key": sample.key, "name": sample.name, "about": sample.about}
                    for sample in self._accounts.values()
                ],
            }
        )

    def _approve_code(self, question: Mapping[str, object]) -> Answer:
        pin = self._pending_pin(question)
        sample = self._accounts.get(_text(question, "account"))
        if sample is None:
            raise RefusalError(NOT_AUTHENTICATED)
        self._approve(pin.code, sample.account)
        return Answer(204)

    def _pending_pin(self, question: Mapping[str, object]) -> Pin:
        """Return the PIN that waits for this page. Raise RefusalError or CodeError where Plex's page refuses."""
        page, code = _text(question, "page"), "".join(_text(question, "code").split())
        if page == "link":
            return self._pending(code.upper(), strong=False)
        if page != "auth":
            raise RefusalError(NOT_UNDERSTOOD)
        client_identifier = _text(question, "clientID")
        if not _text(question, "product"):
            raise RefusalError(CANNOT_COMPLETE)
        if len(code) == _SHORT_CODE_LENGTH:
            raise RefusalError(CANNOT_AUTHORIZE)
        pin = self._pending(code, strong=True)
        if pin.client_identifier != client_identifier:
            raise RefusalError(CANNOT_COMPLETE)
        return pin

    def _pending(self, code: str, *, strong: bool) -> Pin:
        pin = self._pin(code)
        if pin.strong is not strong or pin.token is not None or pin.is_expired(self._now()):
            raise RefusalError(PIN_IS_GONE)
        return pin


async def _send(_: web.Request, *, name: str) -> web.StreamResponse:
    return page_file(name)


async def _redirect(request: web.Request, *, page: str) -> web.StreamResponse:
    # Relative, so that it holds below a key; the browser carries the fragment over.
    location = f"../{page}?{request.rel_url.raw_query_string}".removesuffix("?")
    return web.Response(status=302, headers={"Location": location})


async def _read_question(request: web.Request) -> Mapping[str, object]:
    """Return the members sent. A type of its own keeps forms of foreign pages out."""
    try:
        question = read_json(await request.read()) if request.content_type == "application/json" else None
    except web.HTTPRequestEntityTooLarge as error:
        raise RefusalError(TOO_LARGE) from error
    if question is None:
        raise RefusalError(NOT_UNDERSTOOD)
    return question


def _text(question: Mapping[str, object], name: str) -> str:
    value = question.get(name, "")
    if not isinstance(value, str):
        raise RefusalError(NOT_UNDERSTOOD)
    return value
