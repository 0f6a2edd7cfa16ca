"""The settings: from the environment, from `.env`, from files, and what is said of bad ones."""

from __future__ import annotations

import base64
import logging
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
import pytest

from plexlink.errors import SettingError
from plexlink.plex import PinStyle
from plexlink.secret import Secret
from plexlink.settings import PlexLinkSettings, open_environment
from plexlink_bot.settings import BotSettings

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("no_settings")

TOKEN = "planted-discord-token"
KEY = base64.b64encode(b"planted" * 4 + b"keys").decode()
KEYS = f"a:{KEY},b:{KEY}"

GOOD = {
    "PLEXLINK_DATA_DIR": ("/srv/plexlink", "data_dir", Path("/srv/plexlink")),
    "PLEXLINK_DATABASE_URL": ("sqlite:////srv/db", "database_url", Secret("sqlite:////srv/db")),
    "PLEXLINK_KEYS": (KEYS, "keys", Secret(KEYS)),
    "PLEXLINK_PLEX_URL": ("https://plex.example/", "plex_url", "https://plex.example"),
    "PLEXLINK_PLEX_PRODUCT": ("Marvin's bot", "plex_product", "Marvin's bot"),
    "PLEXLINK_PIN_STYLE": ("strong", "pin_style", PinStyle.STRONG),
    "PLEXLINK_PLEX_RATE": ("0.5", "plex_rate", 0.5),
    "PLEXLINK_PROXY": ("http://me:planted@proxy:3128", "proxy", Secret("http://me:planted@proxy:3128")),
    "PLEXLINK_MAX_PENDING": ("7", "max_pending", 7),
    "PLEXLINK_GUILDS": ("1, 22,333,", "guilds", (1, 22, 333)),
    "PLEXLINK_USER_INSTALL": ("Yes", "user_install", True),
    "PLEXLINK_ROLE_GRACE_HOURS": ("0", "role_grace", timedelta()),
}
GOOD_OF_THE_BOT = {
    "DISCORD_TOKEN": (TOKEN, "discord_token", Secret(TOKEN)),
    "PLEXLINK_DISCORD_API_URL": ("insecure+http://proxy:8080/api/", "discord_api_url", "http://proxy:8080/api"),
    "PLEXLINK_DISCORD_PROXY": ("http://me:planted@proxy:1", "discord_proxy", Secret("http://me:planted@proxy:1")),
    "PLEXLINK_WEB_HOST": ("[::1]", "web_host", "::1"),
    "PLEXLINK_WEB_PORT": ("9090", "web_port", 9090),
    "PLEXLINK_ROLES": ("on", "roles", True),
    "PLEXLINK_MEMBERS_INTENT": ("true", "members_intent", True),
    "PLEXLINK_LOG_FORMAT": ("JSON", "log_format", "json"),
    "PLEXLINK_LOG_LEVEL": ("debug", "log_level", logging.DEBUG),
}
NO_URLS = ["planted", "plex.tv", "ftp://plex.tv", "https://", "https://[", "https:///path", "https://planted host"]
ELSEWHERE = ["http://plex.tv", "http://127.0.0.1.planted.example", "http://localhost@planted.example"]
ELSEWHERE += ["https://plex.tv:99999", "https://plex.tv:planted"]
WITH_MORE = [f"https://{more}" for more in ("me:planted@plex.tv", ":planted@plex.tv", "x/?planted=1", "x/#planted")]
NO_PROXIES = ["planted", "proxy:3128", "socks5://planted:1", "http://", "http://[", "http://proxy:planted"]
NO_PROXIES += ["http://me:planted%E2%82%AC@proxy", "http://me%3Aplanted@proxy", "http://planted%E4@proxy"]
BAD = {
    "PLEXLINK_DATA_DIR": ["~planted-user-that-nobody-has/x"],
    "PLEXLINK_PLEX_URL": [*NO_URLS, *ELSEWHERE, *WITH_MORE],
    "PLEXLINK_PIN_STYLE": ["planted", "shortest", "1"],
    "PLEXLINK_PLEX_RATE": ["planted", "0", "-1", "0.049", "1001", "nan", "inf", "1,5", "1/2"],
    "PLEXLINK_PROXY": NO_PROXIES,
    "PLEXLINK_MAX_PENDING": ["planted", "0", "-1", "1.5", "100001", "9" * 5000],
    "PLEXLINK_GUILDS": ["planted", "0", "-1", "1,planted", "1 2", "1.5", str(2**63), "9" * 5000],
    "PLEXLINK_USER_INSTALL": ["planted", "2", "maybe", "truee"],
    "PLEXLINK_ROLE_GRACE_HOURS": ["planted", "-1", "1.5", "8761", "9" * 5000],
}
BAD_PROXIES = ["http://planted:8080", "http://10.0.0.7", "http://planted.example", "insecure+http://planted.example"]
BAD_PROXIES += [
    "insecure+http://203.0.114.9",
    "insecure+http://134744072",
    "insecure+planted",
    "insecure+insecure+http://planted",
]
BAD_OF_THE_BOT = {
    "PLEXLINK_DISCORD_API_URL": [
        *BAD_PROXIES,
        "planted",
        "ftp://discord.com",
        "http://",
        "http://[",
        "https://me:planted@proxy:8080",
    ],
    "PLEXLINK_DISCORD_PROXY": NO_PROXIES,
    "PLEXLINK_WEB_HOST": ["planted", "127.0.0.1:8080", "1.2.3", "http://127.0.0.1"],
    "PLEXLINK_WEB_PORT": ["planted", "-1", "65536", "1.5", "9" * 5000],
    "PLEXLINK_ROLES": ["planted", "2"],
    "PLEXLINK_MEMBERS_INTENT": ["planted", "2"],
    "PLEXLINK_LOG_FORMAT": ["planted", "xml"],
    "PLEXLINK_LOG_LEVEL": ["planted", "10", "NOTSET", "loud"],
}


def plexlink() -> PlexLinkSettings:
    return PlexLinkSettings.load(open_environment())


def bot() -> BotSettings:
    os.environ.setdefault("DISCORD_TOKEN", TOKEN)
    return BotSettings.load(open_environment())


def found(name: str) -> object:
    """Return what the settings hold for a variable."""
    if name in GOOD:
        return getattr(plexlink(), GOOD[name][1])
    return getattr(bot(), GOOD_OF_THE_BOT[name][1])


def refused(name: str) -> str:
    """Return the sentence with which the settings are refused."""
    with pytest.raises(SettingError) as raised:
        (bot if name in GOOD_OF_THE_BOT else plexlink)()
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None, "the library's error holds the value"
    return str(raised.value)


ALL = GOOD | GOOD_OF_THE_BOT
each = pytest.mark.parametrize("name", ALL)
bad = pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(name, value, id=f"{name}={value[:40]}")
        for name, values in (BAD | BAD_OF_THE_BOT).items()
        for value in values
    ],
)


# --- good values ---


def test_defaults_are_those_of_the_contract() -> None:
    folder = Path(platformdirs.user_data_dir("plexlink", appauthor=False))
    assert plexlink() == PlexLinkSettings(
        data_dir=folder,
        database_url=None,
        keys=None,
        plex_url="https://plex.tv",
        plex_product=None,
        pin_style=PinStyle.SHORT,
        plex_rate=1.0,
        proxy=None,
        max_pending=60,
        guilds=(),
        user_install=False,
    )
    assert plexlink().key_file == folder / "plexlink.key"
    assert plexlink().database_file == folder / "plexlink.sqlite3"


def test_defaults_of_the_process_are_those_of_the_contract() -> None:
    assert bot() == BotSettings(
        discord_token=Secret(TOKEN),
        plexlink=plexlink(),
        discord_api_url=None,
        discord_proxy=None,
        passed_over=(),
        log_format="console",
        log_level=logging.INFO,
    )


def write_env(folder: Path, **variables: str) -> None:
    lines = [f"{name}='{value.replace(chr(39), chr(92) + chr(39))}'\n" for name, value in variables.items()]
    (folder / ".env").write_text("".join(lines), encoding="utf-8")


@each
@pytest.mark.parametrize("place", ["environment", "blanks", "env file", "twin"])
def test_variable_is_read_wherever_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, place: str
) -> None:
    value = ALL[name][0]
    if place == "env file":
        write_env(tmp_path, **{name: value})
    elif place == "twin":
        (tmp_path / "secret").write_text(f"{value}\n", encoding="utf-8")
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "secret"))
    else:
        monkeypatch.setenv(name, f" {value}\n" if place == "blanks" else value)
    assert found(name) == ALL[name][2]


@pytest.mark.parametrize("name", sorted(set(ALL) - {"DISCORD_TOKEN"}))
@pytest.mark.parametrize("nothing", ["", " ", "\n"])
def test_empty_variable_is_a_missing_one(monkeypatch: pytest.MonkeyPatch, name: str, nothing: str) -> None:
    default = found(name)
    monkeypatch.setenv(name, nothing)
    assert found(name) == default != ALL[name][2]


def test_database_and_key_file_follow_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PLEXLINK_DATA_DIR", "here")
    settings = plexlink()
    assert settings.data_dir == tmp_path / "here"
    assert settings.key_file == tmp_path / "here" / "plexlink.key"
    assert settings.database_file == tmp_path / "here" / "plexlink.sqlite3"


def test_tilde_in_the_data_folder_is_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nowhere/planted")
    monkeypatch.setenv("PLEXLINK_DATA_DIR", "~/plexlink")
    assert plexlink().data_dir == Path("/nowhere/planted/plexlink")


@pytest.mark.parametrize(
    "url",
    [
        "https://plex.tv",
        "https://plex.example:8443/base",
        "http://localhost:8080",
        "http://127.0.0.1:8080",
        "http://[::1]:8080",
    ],
)
def test_plex_may_be_elsewhere_over_https_or_on_loopback(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PLEXLINK_PLEX_URL", url + "/")
    assert plexlink().plex_url == url


SAFE = ["https://proxy.example/api", "http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost"]
OWN = ["proxy:8080", "192.168.1.7", "100.100.1.7", "[fd00::7]:80", "proxy.lan", "x.home.arpa/api"]


@pytest.mark.parametrize(
    ("value", "address"),
    [*((url, url) for url in SAFE), *((f"insecure+http://{place}", f"http://{place}") for place in OWN)],
)
def test_discord_may_be_elsewhere_over_https_on_loopback_or_expressly_in_the_own_network(
    monkeypatch: pytest.MonkeyPatch, value: str, address: str
) -> None:
    monkeypatch.setenv("PLEXLINK_DISCORD_API_URL", value)
    assert bot().discord_api_url == address


@pytest.mark.parametrize(
    ("value", "expected"),
    [(word, True) for word in ("true", "TRUE", "yes", "on", "1")]
    + [(word, False) for word in ("false", "False", "no", "off", "0")],
)
def test_truth_has_several_words(monkeypatch: pytest.MonkeyPatch, value: str, *, expected: bool) -> None:
    monkeypatch.setenv("PLEXLINK_USER_INSTALL", value)
    assert plexlink().user_install is expected


def no_home(*_: object, **__: object) -> str:
    raise RuntimeError("could not determine the home directory")


@pytest.mark.parametrize("says", [lambda *_, **__: "~/.local/share/plexlink", no_home])
def test_without_a_home_folder_the_data_folder_must_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: Callable[..., str]
) -> None:
    monkeypatch.setattr(platformdirs, "user_data_dir", says)
    with pytest.raises(SettingError, match="PLEXLINK_DATA_DIR is missing"):
        plexlink()
    monkeypatch.setenv("PLEXLINK_DATA_DIR", str(tmp_path))
    assert plexlink().data_dir == tmp_path


@pytest.mark.parametrize("around", ['"{}"', "'{}'", "\ufeff{}", " {}\r\n", '\ufeff"{}"\n', '" {} "'])
def test_what_editors_and_env_files_put_around_a_secret_is_taken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, around: str
) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", around.format(TOKEN))
    assert bot().discord_token == Secret(TOKEN)
    assert ("the quotes around DISCORD_TOKEN" in caplog.text) is bool({"'", '"'} & set(around))
    assert ("byte order mark from DISCORD_TOKEN" in caplog.text) is ("\ufeff" in around)
    monkeypatch.delenv("DISCORD_TOKEN")
    (file := tmp_path / "token").write_text(around.format(TOKEN), encoding="utf-8")
    monkeypatch.setenv("DISCORD_TOKEN_FILE", str(file))
    assert bot().discord_token == Secret(TOKEN)


@each
@pytest.mark.parametrize("around", ['"{}', "{}'", "'{}\""])
def test_quote_at_one_end_only_is_a_sentence(monkeypatch: pytest.MonkeyPatch, name: str, around: str) -> None:
    monkeypatch.setenv(name, around.format(ALL[name][0]))
    assert refused(name) == f"{name} has a quote at one end only; remove it, or put quotes around all of it."


@pytest.mark.parametrize("line", ["{}='planted", '{}="planted"x', "{}: planted", "{} planted", "export {}='planted"])
@each
def test_line_of_a_dot_env_that_says_nothing_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(name, raising=False)
    (file := tmp_path / ".env").write_text(f"# ours\n\nA={{}}\n{line.format(name)}\nB=1\n")
    with pytest.raises(SettingError) as raised:
        open_environment()
    assert str(raised.value) == f"Line 4 of {file} is not NAME=value, with a quote at both ends or at neither."


def test_line_of_another_program_in_a_dot_env_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("THEIRS='x\nDISCORD_TOKEN=planted\n")
    monkeypatch.delenv("DISCORD_TOKEN", raising=False)
    assert open_environment().str("DISCORD_TOKEN") == "planted"


@pytest.mark.parametrize(
    ("name", "why"),
    [("file", "A file is in the way"), ("file/x/y", "A file is in the way"), ("x" * 300, "File name too long")],
)
def test_what_keeps_the_data_folder_from_being_made_is_said(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingError) as raised:
        PlexLinkSettings(data_dir=tmp_path / name).make_folder()
    assert str(raised.value) == f"PLEXLINK_DATA_DIR cannot be created ({why}); name a folder that can be written."


@pytest.mark.parametrize("token", ["planted token", "planted\ntoken", "planted\ttoken", "plantéd"])
def test_token_that_is_not_in_one_piece_is_a_sentence(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", token)
    assert refused("DISCORD_TOKEN") == "DISCORD_TOKEN must be a bot token in one piece, without spaces or line breaks."


# --- `.env` ---


def test_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_env(tmp_path, PLEXLINK_MAX_PENDING="7", PLEXLINK_PLEX_RATE="0.5")
    monkeypatch.setenv("PLEXLINK_MAX_PENDING", "8")
    assert (plexlink().max_pending, plexlink().plex_rate) == (8, 0.5)


def test_file_of_a_folder_above_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_env(tmp_path, PLEXLINK_MAX_PENDING="7")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert plexlink().max_pending == 60


def test_folder_called_dot_env_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert plexlink().max_pending == 60


def test_comments_and_exports_in_the_file_are_understood(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('# words\n\nexport PLEXLINK_MAX_PENDING="7" # more\nPLEXLINK_PLEX_RATE=0.5\n')
    assert (plexlink().max_pending, plexlink().plex_rate) == (7, 0.5)


def test_file_from_a_windows_editor_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfPLEXLINK_MAX_PENDING=7\r\nPLEXLINK_PLEX_RATE=0.5\r\n")
    assert (plexlink().max_pending, plexlink().plex_rate) == (7, 0.5)


@pytest.mark.parametrize("content", [b"PLEXLINK_PLEX_PRODUCT=M\xe4rvin\n", "PLEXLINK_PIN_STYLE=short".encode("utf-16")])
def test_file_that_is_no_utf8_text_is_a_setting_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(SettingError, match=r"\.env"):
        plexlink()


# --- `…_FILE` ---


def test_twin_may_stand_in_the_env_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("http://proxy:3128\n")
    write_env(tmp_path, PLEXLINK_PROXY_FILE="secret")
    assert plexlink().proxy == Secret("http://proxy:3128")


@each
@pytest.mark.parametrize("nothing", ["", " \n", "\ufeff", "''"])
def test_empty_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, nothing: str) -> None:
    (file := tmp_path / "secret").write_text(nothing, encoding="utf-8")
    monkeypatch.setenv(f"{name}_FILE", str(file))
    assert refused(name).startswith(f"The file {file} that {name}_FILE names is empty; ")


def test_a_twin_that_names_nothing_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLEXLINK_PROXY_FILE", "")
    assert plexlink().proxy is None


def make_binary(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00planted")


UNREADABLE = {
    "No such file or directory": None,
    "Is a directory": Path.mkdir,
    "What it names is not in UTF-8": make_binary,
}


@each
@pytest.mark.parametrize("why", UNREADABLE)
def test_twin_without_a_readable_file_is_a_setting_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    path = tmp_path / "planted"
    make = UNREADABLE[why]
    if make is not None:
        make(path)
    monkeypatch.setenv(f"{name}_FILE", str(path))
    assert refused(name) == f"{name}_FILE must name a readable text file in UTF-8 ({why})."


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
@pytest.mark.parametrize("name", ["DISCORD_TOKEN", "PLEXLINK_KEYS"])
@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_file_of_a_secret_that_others_may_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, mode: int
) -> None:
    (file := tmp_path / "secret").write_text(ALL[name][0])
    file.chmod(mode)
    monkeypatch.setenv(f"{name}_FILE", str(file))
    assert found(name) == ALL[name][2]
    lines = [f"settings.not_private {name}_FILE={file}: others may read it; make it the bot's user's own, chmod 600"]
    assert caplog.messages == (lines if mode == 0o644 else [])


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_file_of_what_is_no_secret_may_be_read_by_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (file := tmp_path / "product").write_text("Marvin's bot")
    file.chmod(0o644)
    monkeypatch.setenv("PLEXLINK_PLEX_PRODUCT_FILE", str(file))
    assert plexlink().plex_product == "Marvin's bot"
    assert not caplog.messages


# --- bad values ---


@bad
def test_bad_value_is_a_sentence_that_names_the_variable_only(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    said = refused(name)
    assert said.startswith(f"{name} must be ")
    assert said.endswith(".")
    assert "planted" not in said
    monkeypatch.setenv(name, (BAD | BAD_OF_THE_BOT)[name][0])
    assert refused(name) == said, "the sentence does not depend on the value"


@pytest.mark.parametrize("place", ["environment", "env file"])
def test_proxy_variables_of_other_programs_are_noticed_without_their_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    given = {
        "HTTPS_PROXY": "http://me:planted@proxy",
        "all_proxy": "socks5://planted",
        "NO_PROXY": "*",
        "http_proxy": "",
    }
    if place == "env file":
        write_env(tmp_path, **given)
    else:
        for name, value in given.items():
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("ALL_PROXY_FILE", "/planted/nowhere")
    assert bot().passed_over == ("HTTPS_PROXY", "all_proxy")
    assert "planted" not in repr(bot())


@pytest.mark.parametrize("value", [None, "", " "])
def test_missing_discord_token_is_a_sentence_that_says_where_to_get_one(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is not None:
        monkeypatch.setenv("DISCORD_TOKEN", value)
    with pytest.raises(SettingError, match=r"DISCORD_TOKEN is missing: .*https://discord\.com/developers"):
        BotSettings.load(open_environment())


# --- secrets ---


def test_no_text_of_the_settings_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISCORD_TOKEN", "PLEXLINK_KEYS", "PLEXLINK_PROXY", "PLEXLINK_DISCORD_PROXY"):
        monkeypatch.setenv(name, ALL[name][0])
    monkeypatch.setenv("PLEXLINK_DATABASE_URL", "postgresql+asyncpg://me:planted@host/db")
    settings = bot()
    assert settings.plexlink.database_url == Secret("postgresql+asyncpg://me:planted@host/db")
    for shown in (repr(settings), str(settings), f"{settings}", repr(settings.plexlink), f"{settings.plexlink!s:>9}"):
        assert "planted" not in shown
        assert KEY not in shown
