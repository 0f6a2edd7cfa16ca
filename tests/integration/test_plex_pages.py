"""The pages on which a person approves a code, over a real socket: with a key in the address and without."""

from __future__ import annotations

import io
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack
from urllib.parse import urljoin, urlsplit

import aiohttp
import pytest

from plex_tv_client import BOT, PIN_IS_GONE, START, Clock, Reply, Said, assert_error, recorded
from plexlink.models import Approved
from plexlink.plex import Pace, PinStyle, PlexClient, verification_url
from plexlink.secret import Secret
from plexlink_bot.sandbox.plex_tv import ALICE, BOB, JAMIE, KID, Account, Operation, PlexTV, SampleAccount, ServerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

KEY = "the-key-of-this-run"
DEVICE = "Discord: zoe via PlexLink"


@dataclass(frozen=True)
class Visitor:
    """A person's browser, and the bot that makes the codes."""

    plex: PlexTV
    session: aiohttp.ClientSession

    async def ask(self, method: str, address: str, *, follow: bool = True, **said: Unpack[Said]) -> Reply:
        async with self.session.request(method, address, allow_redirects=follow, **said) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, *, follow: bool = True) -> Reply:
        return await self.ask("GET", self.plex.url + path, follow=follow)

    async def post(self, path: str, **said: Unpack[Said]) -> Reply:
        return await self.ask("POST", self.plex.url + path, **said)

    async def new_code(self, *, strong: bool = False) -> str:
        said: Said = {"headers": {**BOT, "X-Plex-Device-Name": DEVICE}, "params": {"strong": str(strong)}}
        return str((await self.post("/api/v2/pins", **said)).members["code"])

    async def look_up(self, **question: object) -> Reply:
        return await self.post("/page/code", json={"page": "link", **question})

    async def approve(self, **question: object) -> Reply:
        return await self.post("/page/approve", json={"page": "link", "account": ALICE.uuid, **question})


@pytest.fixture(params=["", KEY], ids=["open", "keyed"])
async def plex(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[PlexTV]:
    async with PlexTV(now=clock, sleep=clock.sleep, key=request.param) as plex:
        yield plex


@pytest.fixture
async def visitor(plex: PlexTV) -> AsyncIterator[Visitor]:
    async with aiohttp.ClientSession() as session:
        yield Visitor(plex, session)


def strong_question(code: str, **changed: object) -> dict[str, object]:
    return {"page": "auth", "code": code, "clientID": "the-bot", "product": "PlexLink", **changed}


def assert_refused(reply: Reply, status: int, message: str) -> None:
    (error,) = json.loads(reply.raw)["errors"]
    assert (reply.status, error["status"], error["message"]) == (status, status, message)
    assert isinstance(error["code"], int)


# --- the pages ---


@pytest.mark.parametrize("path", ["", "/", "/link", "/link/", "/link/?pin=7RQZ", "/auth", "/auth/"])
async def test_page_is_served_with_all_that_it_names(plex: PlexTV, visitor: Visitor, path: str) -> None:
    async with visitor.session.get(plex.url + path) as answer:
        address, shell = str(answer.url), await answer.text()
        assert (answer.status, answer.content_type) == (200, "text/html")
    named = re.findall(r'(?:href|src)="([^"]+)"', shell)
    assert {name.rpartition(".")[2] for name in named} == {"svg", "css", "js", "link"}
    for name in named:
        assert (await visitor.ask("GET", urljoin(address, name))).status == 200, name
    assert plex.requests == []


async def test_code_in_the_address_outlives_the_redirect(plex: PlexTV, visitor: Visitor) -> None:
    reply = await visitor.get("/link/?pin=%0d%0aX%C3%A9", follow=False)
    address = urljoin(f"{plex.url}/link/", reply.headers["Location"])
    assert (reply.status, address) == (302, f"{plex.url}/link?pin=%0D%0AX%C3%A9")


@pytest.mark.parametrize("style", PinStyle)
async def test_address_that_the_bot_builds_leads_to_a_page(plex: PlexTV, visitor: Visitor, style: PinStyle) -> None:
    url = verification_url(
        base_url=plex.url, style=style, user_code=Secret("7RQZ"), client_identifier=Secret("x"), product="PlexLink"
    )
    assert '<section id="consent"' in (await visitor.ask("GET", url)).text


async def test_pages_need_nothing_inline_nothing_foreign_and_write_names_as_text_only(visitor: Visitor) -> None:
    shell, script = (await visitor.get("/link")).text, (await visitor.get("/plex.js")).text
    styles = [(await visitor.get(f"/{name}.css")).text for name in ("page", "plex")]
    assert not re.findall(r"<style|<script>|\sstyle=|\son\w+=", shell)
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", script)
    assert not [text for text in (shell, script, *styles) if re.search(r"//\w|@import|url\(", text)]


# --- looking a code up ---


@pytest.mark.parametrize("written", ["{0}", "  {1}\t", "{1[0]} {1[1]}{0[2]} {0[3]}"])
async def test_code_is_found_however_it_is_typed(visitor: Visitor, clock: Clock, written: str) -> None:
    code = await visitor.new_code()
    clock.advance(24)
    reply = await visitor.look_up(code=written.format(code, code.lower()))
    assert reply.status == 200
    found = {key: value for key, value in reply.members.items() if key != "accounts"}
    assert found == {"code": code, "product": "PlexLink", "deviceName": DEVICE, "expiresIn": 876}


async def test_each_kind_of_account_is_offered(visitor: Visitor) -> None:
    accounts = json.loads((await visitor.look_up(code=await visitor.new_code())).raw)["accounts"]
    assert [(each["key"], each["name"]) for each in accounts] == [
        (ALICE.uuid, "alice"),
        (KID.uuid, "Kid"),
        (BOB.uuid, "bob"),
        (JAMIE.uuid, "jamie"),
    ]
    assert len({each["about"] for each in accounts}) == len(accounts)


async def test_other_accounts_can_be_offered_instead(clock: Clock) -> None:
    sample = SampleAccount(Account(id=7, uuid="c0ffee", username="carol", email=""), "Drinks coffee.")
    async with PlexTV(now=clock, accounts=[sample]) as plex, aiohttp.ClientSession() as session:
        visitor = Visitor(plex, session)
        code = await visitor.new_code()
        offered = (await visitor.look_up(code=code)).members["accounts"]
        assert offered == [{"key": "c0ffee", "name": "carol", "about": "Drinks coffee."}]
        assert (await visitor.approve(code=code)).status == 401
        assert (await visitor.approve(code=code, account="c0ffee")).status == 204


# --- approving ---


@pytest.mark.parametrize("account", [ALICE, BOB, KID], ids=lambda account: account.uuid)
async def test_approved_code_gets_a_token_of_the_chosen_account(
    plex: PlexTV, visitor: Visitor, account: Account
) -> None:
    code = await visitor.new_code()
    reply = await visitor.approve(code=code.lower(), account=account.uuid)
    pin = plex.pin(code)
    assert (reply.status, reply.raw, pin.account) == (204, b"", account)
    assert pin.token is not None
    assert plex.is_alive(pin.token)


async def test_strong_code_is_found_and_approved_on_its_page(plex: PlexTV, visitor: Visitor) -> None:
    code = await visitor.new_code(strong=True)
    found = (await visitor.look_up(**strong_question(code))).members
    assert (found["code"], found["expiresIn"]) == (code, 1800)
    assert (await visitor.approve(**strong_question(code))).status == 204
    assert plex.pin(code).account == ALICE


async def test_bot_that_is_given_the_address_gets_the_token(plex: PlexTV, visitor: Visitor) -> None:
    bot = PlexClient(
        base_url=plex.url, product=lambda: "PlexLink", version="1", pace=Pace(1.0), monotonic=time.monotonic
    )
    async with bot:
        pin = await bot.create_pin(Secret("an-attempt"), device_name=DEVICE, style=PinStyle.SHORT)
        await visitor.approve(code=pin.code.reveal())
        answer = await bot.ask(pin.id, Secret("an-attempt"))
    assert isinstance(answer, Approved)


# --- what is refused, whether looked up or approved ---

BOTH = pytest.mark.parametrize("path", ["/page/code", "/page/approve"])


async def refusal(visitor: Visitor, path: str, **question: object) -> Reply:
    """Ask with an account that is right, and see that nothing was approved."""
    reply = await visitor.post(path, json={"page": "link", "account": ALICE.uuid, **question})
    assert not visitor.plex.tokens
    return reply


@BOTH
@pytest.mark.parametrize("code", ["ZZZZ", "", "😀", "\ud800", "x" * 5000])
async def test_unknown_code_is_not_found(visitor: Visitor, path: str, code: str) -> None:
    assert_error(await refusal(visitor, path, code=code), 404, PIN_IS_GONE)


@BOTH
async def test_expired_code_is_not_found(visitor: Visitor, clock: Clock, path: str) -> None:
    code = await visitor.new_code()
    clock.advance(900)
    assert_error(await refusal(visitor, path, code=code), 404, PIN_IS_GONE)


@BOTH
async def test_approved_code_is_not_found_again_and_keeps_its_account(
    plex: PlexTV, visitor: Visitor, path: str
) -> None:
    code = await visitor.new_code()
    token = plex.approve(code, BOB)
    assert_error(await visitor.post(path, json={"page": "link", "code": code, "account": ALICE.uuid}), 404, PIN_IS_GONE)
    assert (plex.pin(code).token, plex.pin(code).account) == (token, BOB)


@BOTH
async def test_strong_code_is_not_found_on_the_link_page(plex: PlexTV, visitor: Visitor, path: str) -> None:
    code = await visitor.new_code(strong=True)
    plex.pin(code).code = "1" * 25  # has no letter whose case could give it away
    assert_error(await refusal(visitor, path, code="1" * 25), 404, PIN_IS_GONE)


@BOTH
async def test_short_code_is_not_authorized_on_the_auth_page(visitor: Visitor, path: str) -> None:
    question = strong_question(await visitor.new_code())
    assert_refused(await refusal(visitor, path, **question), 403, "Unable to authorize")


@BOTH
@pytest.mark.parametrize("changed", [{"clientID": "another"}, {"clientID": ""}, {"product": ""}], ids=str)
async def test_auth_page_needs_the_client_identifier_of_the_code_and_a_product(
    visitor: Visitor, path: str, changed: dict[str, object]
) -> None:
    question = strong_question(await visitor.new_code(strong=True), **changed)
    assert_refused(await refusal(visitor, path, **question), 400, "We were unable to complete this request")


@BOTH
async def test_unknown_strong_code_is_not_found(visitor: Visitor, path: str) -> None:
    assert_error(await refusal(visitor, path, **strong_question("x" * 25)), 404, PIN_IS_GONE)


@pytest.mark.parametrize("account", ["", "1001", "alice", [ALICE.uuid]])
async def test_account_that_is_not_offered_cannot_approve(visitor: Visitor, account: object) -> None:
    reply = await refusal(visitor, "/page/approve", code=await visitor.new_code(), account=account)
    assert reply.status == (401 if isinstance(account, str) else 400)


async def test_code_that_runs_out_while_it_is_approved_is_not_found() -> None:
    clock = Clock()

    def now() -> datetime:
        clock.advance(300)
        return clock.now

    async with PlexTV(now=now) as plex, aiohttp.ClientSession() as session:
        visitor = Visitor(plex, session)
        code = await visitor.new_code()
        pin = plex.pin(code)
        clock.now = pin.expires_at
        clock.advance(-500)
        assert_error(await visitor.approve(code=code), 404, PIN_IS_GONE)
        assert pin.token is None


@BOTH
@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"\xff", b"[]", b"null", b'"7RQZ"', b"[" * 50_000, b'{"page":1}', b'{"code":"7RQZ"}'),
        *(b'{"page":"elsewhere","code":"7RQZ"}', b'{"page":"link","code":["7RQZ"]}'),
        b'{"page":"auth","code":"7RQZ","clientID":{}}',
    ],
    ids=lambda body: body[:30].decode(errors="replace"),
)
async def test_what_is_no_question_is_refused(visitor: Visitor, path: str, body: bytes) -> None:
    reply = await visitor.post(path, data=body, headers={"Content-Type": "application/json"})
    assert_refused(reply, 400, "The request is not a JSON object of the right members")


@BOTH
async def test_huge_question_is_refused(visitor: Visitor, path: str) -> None:
    body = io.BytesIO(b'{"page":"link","code":"' + b"x" * 2**21 + b'"}')
    headers = {"Content-Type": "application/json"}
    async with visitor.session.post(visitor.plex.url + path, data=body, headers=headers) as answer:
        reply = Reply(answer.status, answer.headers, await answer.read())
    assert_refused(reply, 413, "The request is too large")


async def test_form_of_a_foreign_page_approves_nothing(plex: PlexTV, visitor: Visitor) -> None:
    code = await visitor.new_code()
    body = f'{{"page":"link","code":"{code}","account":"{ALICE.uuid}"}}'.encode()
    reply = await visitor.post("/page/approve", data=body, headers={"Content-Type": "text/plain"})
    assert (reply.status, plex.tokens) == (400, {})


# --- beside the API ---


async def test_pages_meet_no_fault_no_latency_no_limit_and_are_no_requests(
    plex: PlexTV, visitor: Visitor, clock: Clock
) -> None:
    code = await visitor.new_code()
    plex.requests.clear()
    plex.fail(ServerError(), times=1)
    plex.latency, plex.rate_limit = 5, 1
    statuses = [(await visitor.get(path)).status for path in ("/", "/link", "/auth", "/plex.js", "/page/code")]
    statuses += [(await visitor.look_up(code=code)).status, (await visitor.approve(code=code)).status]
    assert statuses == [200, 200, 200, 200, 400, 200, 204]
    assert (plex.requests, clock.slept) == ([], [])
    assert (await visitor.post("/api/v2/pins", headers=BOT)).status == 500


async def test_api_is_recorded_without_the_key(plex: PlexTV, visitor: Visitor) -> None:
    code = await visitor.new_code()
    await visitor.get("/nowhere")
    assert [(call.operation, call.path) for call in plex.requests] == [
        (Operation.CREATE_PIN, "/api/v2/pins"),
        (None, "/nowhere"),
    ]
    reply = await visitor.ask("GET", f"{plex.url}/api/v2/pins/{plex.pin(code).id}", headers=BOT)
    assert reply.members["qr"] == f"{plex.url}/api/v2/pins/qr/{code}"
    assert plex.pin(code).created_at == START


# --- the key ---


@pytest.fixture
async def keyed(clock: Clock) -> AsyncIterator[Visitor]:
    async with PlexTV(now=clock, key=KEY) as plex, aiohttp.ClientSession() as session:
        yield Visitor(plex, session)


@pytest.mark.parametrize("path", ["/", "/link", "/api/v2/pins", "/page/code", "/plex.js", f"/{KEY}x/link", f"//{KEY}/"])
async def test_without_the_key_there_is_nothing(keyed: Visitor, path: str) -> None:
    origin = f"http://{urlsplit(keyed.plex.url).netloc}"
    for method in ("GET", "POST"):
        assert (await keyed.ask(method, origin + path, headers=BOT)).status == 404
    assert (keyed.plex.requests, keyed.plex.pins) == ([], {})


async def test_key_opens_nothing_under_a_foreign_name(keyed: Visitor) -> None:
    assert (await keyed.ask("GET", f"{keyed.plex.url}/link", headers={"Host": "rebound.example"})).status == 404


@pytest.mark.parametrize("path", ["", "/", "/link/", "/link", "/plex.css", "/page/code"])
async def test_browser_may_load_only_what_the_keyed_site_serves(keyed: Visitor, path: str) -> None:
    policy = (await keyed.get(path, follow=False)).headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy


async def test_address_holds_the_key_and_outlives_a_restart(keyed: Visitor) -> None:
    url = keyed.plex.url
    assert url.endswith(f"/{KEY}")
    await keyed.plex.stop()
    await keyed.plex.start()
    assert keyed.plex.url == url
    assert (await keyed.get("/link")).status == 200
    assert recorded(PIN_IS_GONE) == (await keyed.look_up(code="ZZZZ")).members
