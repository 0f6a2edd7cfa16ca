"""Settings: whatever stands in a variable, a file or `.env` is a value that can be used, or one sentence without it."""

from __future__ import annotations

import os
import re
import traceback
from contextlib import chdir, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import yarl
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from plexlink.errors import SettingError
from plexlink.plex import PinStyle, verification_url
from plexlink.secret import Secret
from plexlink.settings import open_environment
from plexlink.vault import parse_keys
from plexlink_bot.settings import BotSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLACES_TO_GO = ["DATA_DIR", "DATABASE_URL", "DISCORD_API_URL", "DISCORD_PROXY", "PLEX_URL", "PROXY"]
REST = ["GUILDS", "KEYS", "LOG_FORMAT", "LOG_LEVEL", "MAX_PENDING", "PIN_STYLE", "PLEX_PRODUCT", "PLEX_RATE"]
REST += ["AUDIT_DAYS", "MEMBERS_INTENT", "ROLES", "ROLE_GRACE_HOURS", "WEB_HOST", "WEB_PORT"]
NAMES = ["DISCORD_TOKEN", *(f"PLEXLINK_{name}" for name in (*PLACES_TO_GO, *REST, "USER_INSTALL"))]
KEY = "planted+" * 5 + "pla="
names = pytest.mark.parametrize("name", NAMES)
fewer = settings(max_examples=max(30, settings().max_examples // 3))


@contextmanager
def environment(folder: Path, variables: dict[str, str]) -> Iterator[None]:
    """Stand in a folder, with these variables and no other setting; `.env` writes into them, so put all back."""
    before = dict(os.environ)
    try:
        for name in before:
            if name.startswith(("PLEXLINK_", "DISCORD_")):
                del os.environ[name]
        os.environ["DISCORD_TOKEN"] = "planted-discord-token"
        os.environ.update(variables)
        with chdir(folder):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings")


def load() -> BotSettings:
    return BotSettings.load(open_environment())


def outcome() -> str | BotSettings:
    """Load the settings; return them, or the sentence with which they are refused."""
    try:
        loaded = load()
    except SettingError as error:
        refusal: BaseException = error
    else:
        hold(loaded)
        return loaded
    assert "planted" not in "".join(traceback.format_exception(refusal)) + repr(refusal)
    return str(refusal)


def hold(loaded: BotSettings) -> None:
    """Hold what the rest of the bot relies on."""
    assert "planted-discord-token" not in repr(loaded)
    plexlink = loaded.plexlink
    assert plexlink.keys is None or parse_keys(plexlink.keys.reveal(), source="PLEXLINK_KEYS")
    assert plexlink.data_dir.is_absolute()
    assert can_be_asked(plexlink.plex_url)
    assert is_private(plexlink.plex_url)
    assert fits_a_button(plexlink.plex_url)
    for proxy in (plexlink.proxy, loaded.discord_proxy):
        assert proxy is None or can_be_asked(proxy.reveal())
    api_url = loaded.discord_api_url
    assert api_url is None or (can_be_asked(api_url) and "@" not in api_url), "what signs us in there is the token"
    assert 0.05 <= plexlink.plex_rate <= 1000
    assert 1 <= plexlink.max_pending <= 100_000
    assert all(0 < each < 2**63 for each in plexlink.guilds)
    assert plexlink.pin_style in PinStyle
    assert loaded.log_format in {"console", "json"}
    assert loaded.log_level in {10, 20, 30, 40}


def can_be_asked(url: str) -> bool:
    """Tell whether the HTTP library reads an address as we do, with a path behind it."""
    ours, theirs = urlsplit(f"{url}/end"), yarl.URL(f"{url}/end")
    return (
        url.isprintable()
        and theirs.scheme in {"http", "https"}
        and bool(theirs.host)
        and theirs.host == yarl.URL.build(scheme="http", host=ours.hostname or "").host
        and theirs.path.endswith("/end")
    )


def is_private(url: str) -> bool:
    parts = yarl.URL(url)
    return parts.user is None and (parts.scheme == "https" or parts.host in {"localhost", "127.0.0.1", "::1"})


def fits_a_button(plex_url: str) -> bool:
    """Tell whether the longest link to the page is one that Discord takes."""
    url = verification_url(
        base_url=plex_url,
        style=PinStyle.STRONG,
        user_code=Secret("x" * 64),
        client_identifier=Secret("3f0c2d1e-6c0b-4d39-9b55-0d7f0a4a6f11"),
        product="%" * 64,
    )
    return len(url) <= 512 and urlsplit(url).path.endswith("/auth")


# --- values ---

HOSTS = ["plex.tv", "127.0.0.1", "localhost", "[::1]", "127.1", "2130706433", "xn--plx-bma.tv", "a" * 600]
NO_HOSTS = ["", ".", "[::1", "::1]", "[::1].planted.example", "[v1.planted]", "plex.tv%00", "\x00plex.tv", "pl\tex.tv"]
USERS = ["me:planted@plex.tv", "@plex.tv", "planted.example\\@plex.tv"]
FOREIGN_HOSTS = ["pl\u00e9x.tv", "plex\uff0etv", "plex\u2100tv", "plex.tv\u200b"]
SCHEMES = ["https://", "http://", "HTTPS://", "https:/", "https:", "//", "ftp://", "socks5://", "javascript://"]
NO_SCHEMES = ["\x00https://", "\x01http://", " https://", "\ufeffhttps://"]

schemes = st.sampled_from(SCHEMES + NO_SCHEMES)
hosts = st.sampled_from(HOSTS + NO_HOSTS + USERS + FOREIGN_HOSTS) | st.text(max_size=10)
ports = st.sampled_from(["", ":", ":0", ":80", ":65535", ":65536", ":99999999999", ":-1", ":\u0663", ":80:90", ":+1"])
rests = st.sampled_from(
    ["", "/", "//", "/?", "/#", "?", "#", "/base", "/?planted=1", "/%", "/\x1f", "/\\", ";x", "/" * 9]
)
urls = st.tuples(schemes, hosts, ports, rests).map("".join)
numbers = (
    st.integers().map(str)
    | st.floats().map(str)
    | st.integers(1, 6000).map(lambda digits: "9" * digits)
    | st.sampled_from(
        ["1e400", "1_0", "\u0661\u0662", "\u00b2", "0x10", "1.", "+1", "--1", "1,,2", ",", "1 2", "\uff11"]
    )
)
CHOICES = ["short", "SHORT", "strong", "json", "\u0131nfo", "DEBUG", "NOTSET", "true", "yes", "oN"]
PLACES = ["~", "~planted/x", "~root", "a" * 5000, "sqlite:///planted.db", "sqlite://planted:99999999/x"]
PLANTED = ["postgresql://me:planted@host/db", f"a:{KEY}", "planted\x00", "planted\n"]
TRICKS = ["{{HOME}}", "${HOME}", "$HOME", "`id`", "%(x)s", "[", "\n", "\u2028", "\x00", "/\x00", "\ud800", "\udcff"]

words = st.sampled_from(CHOICES + PLACES + PLANTED + TRICKS)
values = urls | numbers | words | st.text()


def is_storable(value: str) -> bool:
    """Tell whether an environment can hold a text at all."""
    try:
        return "\x00" not in value and bool(os.fsencode(value) or True)
    except UnicodeEncodeError:
        return False


SENTENCES = {
    "PLEXLINK_DATA_DIR": "PLEXLINK_DATA_DIR must be a folder.",
    "PLEXLINK_DISCORD_API_URL": "PLEXLINK_DISCORD_API_URL must be https://…, http:// on loopback, "
    "or insecure+http:// in a network of your own.",
    "PLEXLINK_DISCORD_PROXY": "PLEXLINK_DISCORD_PROXY must be the http:// address of a proxy.",
    "PLEXLINK_GUILDS": "PLEXLINK_GUILDS must be server ids, separated by commas.",
    "PLEXLINK_LOG_FORMAT": "PLEXLINK_LOG_FORMAT must be console or json.",
    "PLEXLINK_LOG_LEVEL": "PLEXLINK_LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR.",
    "PLEXLINK_MAX_PENDING": "PLEXLINK_MAX_PENDING must be a whole number from 1 to 100000.",
    "PLEXLINK_PIN_STYLE": "PLEXLINK_PIN_STYLE must be short or strong.",
    "PLEXLINK_PLEX_RATE": "PLEXLINK_PLEX_RATE must be requests a second, from 0.05 to 1000.",
    "PLEXLINK_PLEX_URL": "PLEXLINK_PLEX_URL must be https://…, or http:// on loopback.",
    "PLEXLINK_PROXY": "PLEXLINK_PROXY must be the http:// address of a proxy.",
    "PLEXLINK_USER_INSTALL": "PLEXLINK_USER_INSTALL must be true or false.",
    "PLEXLINK_MEMBERS_INTENT": "PLEXLINK_MEMBERS_INTENT must be true or false.",
    "PLEXLINK_ROLES": "PLEXLINK_ROLES must be true or false.",
    "PLEXLINK_ROLE_GRACE_HOURS": "PLEXLINK_ROLE_GRACE_HOURS must be a whole number of hours from 0 to 8760.",
    "PLEXLINK_AUDIT_DAYS": "PLEXLINK_AUDIT_DAYS must be a whole number of days from 1 to 36500.",
    "PLEXLINK_WEB_HOST": "PLEXLINK_WEB_HOST must be an address of this machine, or 0.0.0.0.",
    "PLEXLINK_WEB_PORT": "PLEXLINK_WEB_PORT must be a port from 0 to 65535; 0 turns the pages off.",
}
KEYS_SENTENCE = re.compile(
    r"PLEXLINK_KEYS( must list keys as id:base64, the id of letters, digits, - and _\."
    r"| holds no key; write at least one as id:base64, or remove it\."
    r"| names the key [A-Za-z0-9_-]{1,32} twice; keep one of the two\."
    r"|: the key [A-Za-z0-9_-]{1,32} is not valid base64\."
    r"|: the key [A-Za-z0-9_-]{1,32} must have 32 bytes; make one with: openssl rand -base64 32)"
)
QUOTE = re.compile(r"(\w+) has a quote at one end only; remove it, or put quotes around all of it\.")
UNREADABLE = re.compile(r"(\w+)_FILE must name a readable text file in UTF-8 \([\w -]+\)\.")
NO_LINE = re.compile(r"Line [1-9][0-9]* of /[^\n]+/\.env is not NAME=value, with a quote at both ends or at neither\.")
SECRET = {"DISCORD_TOKEN", "PLEXLINK_DATABASE_URL", "PLEXLINK_KEYS", "PLEXLINK_PROXY", "PLEXLINK_DISCORD_PROXY"}
NO_TOKEN = (
    "DISCORD_TOKEN is missing",
    "DISCORD_TOKEN must be a bot token in one piece, without spaces or line breaks.",
)
EMPTY_FILE = re.compile(r"The file \S+ that \w+_FILE names is empty; write the value into it, or name none\.")


def is_explained(name: str, said: str) -> bool:
    """Tell whether a refusal names the variable, and its value nowhere."""
    if EMPTY_FILE.fullmatch(said):
        return f"{name}_FILE" in said
    if found := QUOTE.fullmatch(said):
        return found[1] == name
    if name == "PLEXLINK_KEYS":
        return KEYS_SENTENCE.fullmatch(said) is not None
    if name == "DISCORD_TOKEN":
        return said.startswith(NO_TOKEN)
    return said == SENTENCES.get(name)


def check(name: str) -> None:
    result = outcome()
    if isinstance(result, str):
        assert is_explained(name, result)
    elif name in SECRET:
        assert "planted" not in repr(result)


@names
@fewer
@given(value=values)
@example(value="https://[::1].planted.example")
@example(value="http://me:planted@plex.tv")
@example(value="https://plex.tv/?")
@example(value="http://plex.tv")
@example(value="~planted/x")
@example(value="nan")
@example(value="https://plex.tv/" + "x" * 400)
@example(value="\x01https://plex.tv")
def test_any_text_in_a_variable_is_a_usable_value_or_a_sentence_without_it(folder: Path, name: str, value: str) -> None:
    assume(is_storable(value))
    with environment(folder, {name: value}):
        check(name)


@names
@fewer
@given(content=values.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=40))
def test_any_content_of_a_file_is_a_usable_value_or_a_sentence_without_it(
    folder: Path, name: str, content: bytes
) -> None:
    path = folder.with_name("secret-of-the-settings")
    path.write_bytes(content)
    with environment(folder, {f"{name}_FILE": str(path)}):
        try:
            content.decode()
        except UnicodeDecodeError:
            assert outcome() == f"{name}_FILE must name a readable text file in UTF-8 (What it names is not in UTF-8)."
        else:
            check(name)


# --- `.env` ---

assignments = st.builds(
    lambda export, name, equals, quote, value, end: f"{export}{name}{equals}{quote}{value}{end}",
    st.sampled_from(["", "export ", "  "]),
    st.sampled_from([*NAMES, *(f"{name}_FILE" for name in NAMES), "", "planted", "#"]),
    st.sampled_from(["=", " = ", "", ":", "=="]),
    st.sampled_from(["", "'", '"', "`"]),
    values.filter(lambda text: len(text) < 200),
    st.sampled_from(["", "'", '"', " # planted", "\\"]),
)
env_files = st.lists(assignments, max_size=5).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass"))


@given(content=env_files | st.binary(max_size=80))
@example(content=b"PLEXLINK_PROXY=http://proxy:1\n\xff")
@example(content="PLEXLINK_PROXY=http://proxy:1".encode("utf-16"))
@example(content=b"PLEXLINK_PLEX_PRODUCT=a\x00b")
def test_any_env_file_is_usable_settings_or_a_sentence_without_its_values(folder: Path, content: bytes) -> None:
    (folder / ".env").write_bytes(content)
    try:
        with environment(folder, {}):
            result = outcome()
    finally:
        (folder / ".env").unlink()
    if isinstance(result, str):
        expected = {
            f"The file {folder / '.env'} must be plain text in UTF-8.",
            *SENTENCES.values(),
        }
        found = QUOTE.fullmatch(result) or UNREADABLE.fullmatch(result)
        assert found is None or found[1] in NAMES
        assert (
            found
            or result in expected
            or NO_LINE.fullmatch(result)
            or KEYS_SENTENCE.fullmatch(result)
            or result.startswith(NO_TOKEN)
        )
