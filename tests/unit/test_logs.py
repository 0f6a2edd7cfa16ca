"""What the process prints: lines for people or machines, and in neither a secret that the process holds."""

from __future__ import annotations

import asyncio
import base64
import gc
import io
import json
import logging
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from aiohttp import web

from plexlink.secret import Secret
from plexlink.settings import PlexLinkSettings, open_environment
from plexlink.vault import parse_keys
from plexlink_bot import logs
from plexlink_bot.logs import MARK, KnownSecrets
from plexlink_bot.settings import BotSettings, forget_secrets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

log = logging.getLogger("planted")

TOKEN = "planted-plex-token_1"
AWKWARD = 'plänted "name" of\\an account/100%'


class Output:
    """What the process wrote."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        self.stream = io.TextIOWrapper(self._bytes, encoding="utf-8", errors="backslashreplace", line_buffering=True)

    @property
    def text(self) -> str:
        return self._bytes.getvalue().decode()


@contextmanager
def process(*, guard: bool = True, log_format: str | None = None) -> Iterator[Output]:
    """Print elsewhere, guarded or not; all that is set up is put back.

    Not a fixture: pytest exchanges the streams between a fixture and its test.
    """
    output = Output()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("stdout", "stderr"):
            patch.setattr(sys, f"__{name}__", output.stream)
            patch.setattr(sys, name, output.stream)
        patch.setattr(Secret, "on_creation", None)
        patch.setattr(logging.root, "handlers", [])
        patch.setattr(logging.root, "level", logging.root.level)
        patch.setattr(logging.getLogger(logs._WEB_SERVER), "filters", [])
        levels = {logging.getLogger(name): logging.getLogger(name).level for name in (*logs._OURS, *logs._BODIES)}
        if guard:
            logs.guard(KnownSecrets())
        try:
            if log_format is not None:
                logs.set_up(log_format=log_format, level=logging.DEBUG)
            yield output
        finally:
            for logger, level in levels.items():
                logger.setLevel(level)


def known(*values: str) -> tuple[KnownSecrets, list[Secret]]:
    """Return the secrets and who holds them."""
    known = KnownSecrets()
    held = [Secret(value) for value in values]
    for secret in held:
        known.add(secret)
    return known, held


# --- which texts are secrets ---


def test_known_secret_is_struck_out_wherever_it_stands() -> None:
    known_ones, _held = known(TOKEN)
    for before, after in (("", ""), ("a ", " b"), ("ab", "cd"), (TOKEN, TOKEN), ("\n", "\n"), ('{"x": "', '"}')):
        expected = f"{before}{MARK}{after}".replace(TOKEN, MARK)
        assert known_ones.strike_out(f"{before}{TOKEN}{after}") == expected


def test_text_without_a_secret_is_left_alone() -> None:
    known_ones, _held = known(TOKEN)
    for text in ("", "a", TOKEN[:-1], TOKEN[1:], "link.linked attempt=planted-plex user=1"):
        assert known_ones.strike_out(text) == text


@pytest.mark.parametrize(
    "spell",
    [
        str,
        repr,
        ascii,
        json.dumps,
        lambda value: json.dumps(value, ensure_ascii=False),
        lambda value: json.dumps({"message": f"it says {value!r}"}, ensure_ascii=False),
        quote,
        lambda value: quote(value, safe=""),
        lambda value: json.dumps(quote(value)),
    ],
)
def test_secret_with_unusual_characters_is_found_as_it_is_escaped_or_quoted(spell: Callable[[str], str]) -> None:
    known_ones, _held = known(AWKWARD)
    said = known_ones.strike_out(f"said: {spell(AWKWARD)}.")
    assert said.strip("\"{}'").endswith((f"{MARK}.", f"{MARK}'.", f'{MARK}".', f"{MARK}'\"}}."))
    assert not [part for part in ("nted", "account", "name", "100") if part in said]


def test_secret_that_is_quoted_is_found_unquoted_too() -> None:
    known_ones, _held = known("http://me:pl%40nted%2Fpass@proxy:3128")
    assert known_ones.strike_out("via http://me:pl@nted/pass@proxy:3128") == f"via {MARK}"


def test_undecodable_byte_of_the_environment_does_no_harm() -> None:
    known_ones, _held = known("planted\udce4password")
    assert known_ones.strike_out("a planted\udce4password") == f"a {MARK}"


@pytest.mark.parametrize("value", ["", "7RQZ", "2147483647", "elevenchars"])
def test_short_secret_is_not_searched_for_because_innocent_text_holds_it_too(value: str) -> None:
    known_ones, _held = known(value)
    assert known_ones.strike_out(f"at 21474836470 {value} 7RQZ") == f"at 21474836470 {value} 7RQZ"


def test_longer_secret_goes_before_the_one_in_it() -> None:
    known_ones, _held = known("planted-password", "http://me:planted-password@proxy")
    said = known_ones.strike_out("http://me:planted-password@proxy planted-password")
    assert said == f"{MARK} {MARK}"


def test_secrets_with_the_same_beginning_are_both_found() -> None:
    known_ones, _held = known(f"{TOKEN}-one", f"{TOKEN}-two")
    assert known_ones.strike_out(f"{TOKEN}-two {TOKEN}-one {TOKEN}-six") == f"{MARK} {MARK} {TOKEN}-six"


# --- how long they are known ---


def test_secret_is_known_for_as_long_as_somebody_holds_one_of_its_kind() -> None:
    known_ones, held = known(TOKEN, TOKEN)
    del held[0]
    gc.collect()
    known_ones.add(Secret("another-planted-secret"))  # tidies up
    assert known_ones.strike_out(TOKEN) == MARK


def test_secret_that_nobody_holds_is_forgotten() -> None:
    known_ones, held = known(TOKEN, TOKEN, AWKWARD)
    held.clear()
    gc.collect()
    another = Secret("another-planted-secret")
    known_ones.add(another)
    assert known_ones.strike_out(f"{TOKEN} {AWKWARD}") == f"{TOKEN} {AWKWARD}"
    assert (len(known_ones._spellings), len(known_ones._holders), len(known_ones._gone)) == (1, 1, 0)


def test_threads_add_forget_and_search_at_once() -> None:
    known_ones, _held = known(TOKEN)
    failures: list[object] = []

    def work(number: int) -> None:
        try:
            for turn in range(200):
                mine, shared = Secret(f"planted-{number}-{turn}-secret"), Secret("planted-by-all-threads")
                known_ones.add(mine)
                known_ones.add(shared)
                if known_ones.strike_out(f"{TOKEN} {mine.reveal()} {shared.reveal()}") != f"{MARK} {MARK} {MARK}":
                    failures.append((number, turn))
        except Exception as error:  # noqa: BLE001 - reported by the test itself
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failures


def test_nobody_is_told_of_secrets_where_no_process_of_ours_runs() -> None:
    assert Secret.on_creation is None


def test_guarded_process_knows_every_secret_that_is_made() -> None:
    with process() as output:
        _held = Secret(TOKEN)
        sys.stderr.write(f"said {TOKEN}\n")
        assert output.text == f"said {MARK}\n"


# --- the secrets of the settings ---

A_KEY = base64.b64encode(b"planted+key/material+0123456789?").decode()
ANOTHER_KEY = base64.b64encode(b"\xfb\xff" * 16).decode()
PROXY = "http://proxy-user:pl%C3%A4nted%2Fpassword@proxy.example:3128"


def test_each_part_of_a_secret_setting_is_known_by_itself(tmp_path: Path) -> None:
    urlsafe = ANOTHER_KEY.replace("+", "-").replace("/", "_")
    file_key = base64.b64encode(b"k" * 32).decode()
    pieces = [
        "MTA.planted.bot-token",
        A_KEY,
        urlsafe,
        file_key,
        "planted-database-password",
        "db-user:planted-database-password",
        PROXY,
        "proxy-user:pl%C3%A4nted%2Fpassword",
        "pl%C3%A4nted%2Fpassword",
        "plänted/password",
        base64.b64encode("proxy-user:plänted/password".encode("latin-1")).decode(),
        "planted-discord-proxy-password",
        base64.b64encode(b"another-user:planted-discord-proxy-password").decode(),
    ]
    with process() as output:
        settings = BotSettings(
            discord_token=Secret("MTA.planted.bot-token"),
            plexlink=PlexLinkSettings(
                data_dir=tmp_path,
                keys=Secret(f"first:{A_KEY},\nsecond:{urlsafe}"),
                proxy=Secret(PROXY),
                database_url=Secret("postgresql://db-user:planted-database-password@db.example/plexlink"),
            ),
            discord_proxy=Secret("http://another-user:planted-discord-proxy-password@proxy.example"),
        )
        ring = parse_keys(f"third:{file_key}", source="a file")
        for piece in pieces:
            sys.stderr.write(f"a {piece} b\n")
        assert output.text == f"a {MARK} b\n" * len(pieces)
    assert settings.plexlink.proxy is not None
    assert "third" in ring


def test_every_variable_that_holds_a_secret_is_taken_out_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "DISCORD_TOKEN": "MTA.planted.bot-token",
        "PLEXLINK_KEYS": f"first:{A_KEY}",
        "PLEXLINK_PROXY": PROXY,
        "PLEXLINK_DISCORD_PROXY": PROXY,
        "PLEXLINK_DATABASE_URL": f"sqlite:///{tmp_path}/db",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = BotSettings.load(open_environment())
    every = [(where, field.name) for where in (settings, settings.plexlink) for field in fields(where)]
    secret = {name.upper() for where, name in every if isinstance(getattr(where, name), Secret)}
    assert secret == {name.removeprefix("PLEXLINK_") for name in given}

    environment = {**given, "PLEXLINK_KEYS_FILE": "/a/path", "PATH": "/bin"}
    forget_secrets(environment)
    assert environment == {"PLEXLINK_KEYS_FILE": "/a/path", "PATH": "/bin"}


# --- every way into the log ---


def raise_with(text: str) -> None:
    raise ValueError(text)


def chain_with(text: str) -> None:
    try:
        raise_with(text)
    except ValueError as error:
        raise KeyError(text) from error


def group_with(text: str) -> None:
    raise ExceptionGroup(text, [ValueError(text), OSError(2, text, text)])


def log_failure(fail: Callable[[str], None]) -> None:
    try:
        fail(TOKEN)
    except Exception:
        log.exception("it failed: %s", TOKEN)


class Rude:
    """Something that cannot be printed."""

    def __repr__(self) -> str:
        raise_with(TOKEN)
        return ""


WAYS: dict[str, Callable[[], None]] = {
    "message": lambda: log.warning(f"said {TOKEN}"),  # noqa: G004 - a leak is planted
    "argument": lambda: log.warning("said %s and %r", TOKEN, [TOKEN]),
    "mapping": lambda: log.warning("said %(what)s", {"what": {TOKEN: TOKEN}}),
    "name": lambda: logging.getLogger(TOKEN).warning("said"),
    "exception": lambda: log_failure(raise_with),
    "cause": lambda: log_failure(chain_with),
    "group": lambda: log_failure(group_with),
    "stack": lambda: log.warning("here: %s", TOKEN, stack_info=True),
    "wrong argument": lambda: log.warning("%d", TOKEN),
    "too many arguments": lambda: log.warning("nothing", TOKEN),  # noqa: PLE1205 - a mistake is planted
    "rude argument": lambda: log.warning("%r %s", Rude(), TOKEN),
}
ways = pytest.mark.parametrize("leak", WAYS.values(), ids=WAYS.keys())
formats = pytest.mark.parametrize("log_format", ["console", "json"])


@ways
@formats
def test_secret_does_not_get_into_the_log(log_format: str, leak: Callable[[], None]) -> None:
    with process(log_format=log_format) as output:
        _held = Secret(TOKEN)
        leak()
        log.warning("and on it goes")
        assert TOKEN not in output.text
        assert MARK in output.text
        assert "and on it goes" in output.text


@ways
@formats
def test_each_of_these_ways_leaks_where_nothing_guards(log_format: str, leak: Callable[[], None]) -> None:
    with process(guard=False, log_format=log_format) as output:
        leak()
        assert TOKEN in output.text


def test_json_lines_stay_json_with_whatever_is_struck_out() -> None:
    with process(log_format="json") as output:
        _held = [Secret(AWKWARD), Secret(TOKEN)]
        log.warning("said %s", AWKWARD)
        log.warning("said %r", AWKWARD)
        log.warning("said\n%s", TOKEN, stack_info=True)
        log_failure(raise_with)
        lines = [json.loads(line) for line in output.text.splitlines()]
    assert [line["message"] for line in lines] == [
        f"said {MARK}",
        f"said '{MARK}'",
        f"said\n{MARK}",
        f"it failed: {MARK}",
    ]
    assert "in test_json_lines" in lines[2]["stack"]
    assert f"ValueError: {MARK}" in lines[3]["exception"]


def test_log_with_nowhere_to_write_to_does_not_raise() -> None:
    with process(log_format="console") as output:
        sys.stderr.close()
        log.warning("nobody hears this")
        log.warning("%d", "nor this")
        assert output.stream.closed or sys.stderr.closed


def test_no_library_prints_what_passes_through_it_at_debug() -> None:
    with process(log_format="console"):
        for name in ("discord.http", "discord.gateway", "discord.client", "discord.webhook.async_", "aiosqlite"):
            assert logging.getLogger(name).getEffectiveLevel() == logging.INFO
        assert logging.getLogger("sqlalchemy.engine").getEffectiveLevel() == logging.WARNING, "statements are INFO"
        logs.set_up(log_format="console", level=logging.ERROR)
        assert logging.getLogger("discord.http").getEffectiveLevel() == logging.ERROR


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.WARNING])
def test_what_libraries_have_to_say_at_info_is_said_at_debug(level: int) -> None:
    with process(log_format="console") as output:
        logs.set_up(log_format="console", level=level)
        for name in ("plexlink.store", "plexlink_bot", "alembic.runtime", "discord.client"):
            logging.getLogger(name).info("of %s", name)
            logging.getLogger(name).warning("warned by %s", name)
        ours = {"plexlink.store", "plexlink_bot"} if level <= logging.INFO else set()
        theirs = {"alembic.runtime", "discord.client"} if level <= logging.DEBUG else set()
        assert {line.partition(": of ")[2] for line in output.text.splitlines() if ": of " in line} == ours | theirs
        assert output.text.count("warned by") == 4


# --- what strangers send to a port of ours ---


HEAD = b" HTTP/1.1\r\nHost: x\r\n"
RUBBISH = [
    b"\x16\x03\x01 planted\r\n\r\n",
    b"GET /planted HTTP/9.9\r\n\r\n",
    b"GET /" + HEAD + b"planted\r\n\r\n",
    b"GET /" + HEAD + b"X: planted" + b"x" * 9000 + b"\r\n\r\n",
    b"GET /" + HEAD + b"Content-Length: planted\r\n\r\n",
    b"GET /" + HEAD + b"Upgrade: x\r\nConnection: upgrade\r\n\r\nplanted\r\n\r\n",
    b"GET /" + HEAD + b"Transfer-Encoding: chunked\r\n\r\nplanted\r\n",
    b"GET /" + HEAD + b"Content-Encoding: gzip\r\nContent-Length: 8\r\n\r\nplanted!",
    b"GET /" + HEAD + b"Content-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nplanted!\r\n0\r\n\r\n",
]


@asynccontextmanager
async def a_port(page: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[int]:
    """Serve one page; give the port."""
    app = web.Application()
    app.router.add_get("/", page)
    await (runner := web.AppRunner(app, access_log=None)).setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def send(port: int, request: bytes) -> None:
    """Send bytes, and wait until the server has let go of them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    writer.write_eof()
    await reader.read()
    writer.close()


@pytest.mark.parametrize("does_read", [False, True])
async def test_rubbish_from_a_stranger_is_in_no_log(does_read: bool) -> None:  # noqa: FBT001 - a parameter of a test
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=await request.read() if does_read else b"")

    with process(log_format="console") as output:
        async with a_port(answer) as port:
            for rubbish in RUBBISH:
                await send(port, rubbish)
        assert "planted" not in output.text
        assert "Traceback" not in output.text
        assert {line.split()[2] for line in output.text.splitlines()} <= {"DEBUG"}


async def test_a_fault_of_ours_stays_an_error_with_its_traceback() -> None:
    async def answer(_: web.Request) -> web.Response:
        raise LookupError("a fault of ours")

    with process(log_format="console") as output:
        async with a_port(answer) as port:
            await send(port, b"GET /" + HEAD + b"\r\n")
        assert "ERROR   aiohttp.server: Error handling request" in output.text
        assert "Traceback" in output.text
        assert "LookupError: a fault of ours" in output.text


# --- every way past the log ---

SCRIPT = """
import asyncio, logging, sys, threading, warnings
from plexlink.errors import SettingError
from plexlink.secret import Secret
from plexlink_bot import logs

if GUARD:
    logs.guard(logs.KnownSecrets())
held = Secret(TOKEN)

def fail(text=f"way {TOKEN}"):
    raise ValueError(text)

class Rude:
    def __del__(self, fail=fail):
        fail()

async def loop_ways():
    loop = asyncio.get_running_loop()
    loop.call_soon(fail)
    await asyncio.sleep(0)
    loop.call_exception_handler({"message": f"way {TOKEN}", "handle": TOKEN})
    task = asyncio.create_task(fail_later(), name=TOKEN)
    await asyncio.sleep(0)
    del task

async def fail_later():
    fail()

print("way print", TOKEN)
print("way stderr", TOKEN, file=sys.stderr)
sys.stderr.writelines(["way ", TOKEN, "\\n"])
logging.getLogger("nobody.set.up").warning("way lastResort %s", TOKEN)
logs.set_up(log_format="json", level=logging.DEBUG)
asyncio.run(loop_ways(), debug=True)
thread = threading.Thread(target=fail, name=TOKEN)
thread.start()
thread.join()
warnings.warn(f"way {TOKEN}")
Rude()
at_the_end = Rude()
fail()
"""


def run_script(*, guard: bool) -> str:
    script = f"TOKEN = {TOKEN!r}; GUARD = {guard}\n{SCRIPT}"
    # Read from standard input, a traceback quotes no source lines: only values can leak.
    ended = subprocess.run(
        [sys.executable, "-W", "always", "-"], input=script, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 1, ended.stderr
    return ended.stdout + ended.stderr


def test_secret_in_an_uncaught_exception_a_thread_a_task_or_a_warning_is_not_printed() -> None:
    said = run_script(guard=True)
    assert TOKEN not in said, said
    leaked = run_script(guard=False)
    assert said.count(MARK) == leaked.count(TOKEN) == 16, said
