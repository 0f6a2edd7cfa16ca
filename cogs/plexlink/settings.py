"""The plugin's settings, from environment variables, a `.env` file, or files named by `…_FILE` twins.

A bad value stops the plugin with one sentence that names the variable and never its value.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

import platformdirs
from dotenv.parser import parse_stream
from environs import EnvError, FileAwareEnv

from .errors import SettingError
from .files import is_open_to_others, make_folder
from .plex import OFFICIAL, PinStyle
from .secret import Secret
from .vault import parse_keys

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

_T = TypeVar("_T")
_D = TypeVar("_D")

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_PLACE = re.compile(r"(?:[^@]+@)?(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
_LONGEST_PLEX_URL = 128
"""With a path and a code behind it, it must fit into a link button, which takes 512 characters."""
_BYTE_ORDER_MARK = "\ufeff"
_QUOTES = "\"'"
_IS_OURS = re.compile(r"^\s*(?:export\s+)?(?:DISCORD_TOKEN|PLEXLINK_)")
_KEY_FILE = "plexlink.key"
_DATABASE_FILE = "plexlink.sqlite3"
_LEAST_RATE, _HIGHEST_RATE = 0.05, 1000.0
_HIGHEST_PENDING = 100_000
_MOST_DAYS = 36_500
_MOST_HOURS = 8760


@dataclass(frozen=True, slots=True, kw_only=True)
class PlexLinkSettings:
    """What the plugin can be told."""

    data_dir: Path
    database_url: Secret | None = None
    keys: Secret | None = None
    plex_url: str = OFFICIAL
    plex_product: str | None = None
    pin_style: PinStyle = PinStyle.SHORT
    plex_rate: float = 1.0
    proxy: Secret | None = None
    max_pending: int = 60
    guilds: tuple[int, ...] = ()
    user_install: bool = False
    audit_days: int = 365
    role_grace: timedelta = timedelta(hours=72)
    """For so long a member whose token is dead keeps the role."""

    @property
    def key_file(self) -> Path:
        """Where the key ring lies unless `PLEXLINK_KEYS` gives it."""
        return self.data_dir / _KEY_FILE

    @property
    def database_file(self) -> Path:
        """Where the database lies unless `PLEXLINK_DATABASE_URL` names another."""
        return self.data_dir / _DATABASE_FILE

    @property
    def database_place(self) -> Path | str:
        """Where the database is: a file, or the URL that the operator gave."""
        return self.database_file if self.database_url is None else self.database_url.reveal()

    def make_folder(self) -> None:
        """Make the data folder, its owner's alone. Raise SettingError where that fails."""
        try:
            make_folder(self.data_dir)
        except (OSError, ValueError) as error:
            why = os.strerror(getattr(error, "errno", None) or errno.EINVAL)
            if isinstance(error, FileExistsError):
                why = "A file is in the way"
            raise SettingError(
                f"PLEXLINK_DATA_DIR cannot be created ({why}); name a folder that can be written."
            ) from None

    @classmethod
    def load(cls, env: FileAwareEnv) -> PlexLinkSettings:
        """Read all settings.

        Raises:
            SettingError: one of them is malformed.

        """
        reader = SettingReader(env)
        data_dir = reader.read("PLEXLINK_DATA_DIR", _folder, None, "a folder") or _default_folder()
        settings = cls(
            data_dir=data_dir,
            database_url=reader.read("PLEXLINK_DATABASE_URL", Secret, None, "a database URL"),
            keys=reader.read("PLEXLINK_KEYS", Secret, None, "keys"),
            plex_url=reader.read("PLEXLINK_PLEX_URL", _plex_url, OFFICIAL, "https://…, or http:// on loopback"),
            plex_product=reader.read("PLEXLINK_PLEX_PRODUCT", str, None, "a name"),
            pin_style=reader.read("PLEXLINK_PIN_STYLE", PinStyle, PinStyle.SHORT, "short or strong"),
            plex_rate=reader.read("PLEXLINK_PLEX_RATE", _rate, 1.0, "requests a second, from 0.05 to 1000"),
            proxy=reader.read("PLEXLINK_PROXY", parse_proxy, None, "the http:// address of a proxy"),
            max_pending=reader.read("PLEXLINK_MAX_PENDING", _count, 60, "a whole number from 1 to 100000"),
            guilds=reader.read("PLEXLINK_GUILDS", _ids, (), "server ids, separated by commas"),
            audit_days=reader.read("PLEXLINK_AUDIT_DAYS", _days, 365, "a whole number of days from 1 to 36500"),
            role_grace=reader.read(
                "PLEXLINK_ROLE_GRACE_HOURS", _hours, timedelta(hours=72), "a whole number of hours from 0 to 8760"
            ),
            user_install=reader.read("PLEXLINK_USER_INSTALL", parse_boolean, False, "true or false"),  # noqa: FBT003 - a default
        )
        if settings.keys is not None:
            parse_keys(settings.keys.reveal(), source="PLEXLINK_KEYS")  # to say what is wrong before anything starts
        return settings


class SettingReader:
    """Read variables one by one, each with its own sentence for what is wrong."""

    def __init__(self, env: FileAwareEnv) -> None:
        self._env = env

    def read(self, name: str, parse: Callable[[str], _T], default: _D, expected: str) -> _T | _D:
        """Return a parsed variable, or the default where it is missing or empty.

        Raises:
            SettingError: it does not parse; the text says what is expected.

        """
        text = read_setting(self._env, name)
        if text is None:
            return default
        try:
            value = parse(text)
        except (ValueError, OverflowError, RuntimeError):
            raise SettingError(f"{name} must be {expected}.") from None
        if isinstance(value, Secret):
            self._warn_of_others(f"{name}_FILE")
        return value

    def _warn_of_others(self, twin: str) -> None:
        file = self._env.str(twin, None)
        if file and is_open_to_others(Path(file)):
            _log.warning(
                "settings.not_private %s=%s: others may read it; make it the bot's user's own, chmod 600",
                twin,
                file,
            )


def open_environment() -> FileAwareEnv:
    """Return the environment, with a `.env` file of the present folder behind it.

    Raises:
        SettingError: that file cannot be read, or a line in it that names a setting of ours.

    """
    env = FileAwareEnv(strip_whitespace=True)
    file = Path(".env")
    try:
        if file.is_file():
            _check_lines(file)
            env.read_env(file, recurse=False)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise SettingError(f"The file {file.absolute()} cannot be read ({why}); mend its rights.") from None
    except ValueError:
        raise SettingError(f"The file {file.absolute()} must be plain text in UTF-8.") from None
    return env


def _check_lines(file: Path) -> None:
    """Refuse what would be passed over, so that a setting seems to be missing; other programs' lines are theirs."""
    with file.open(encoding="utf-8") as lines:
        for statement in parse_stream(lines):
            text = statement.original.string
            if statement.error and _IS_OURS.match(text):
                number = statement.original.line + text[: len(text) - len(text.lstrip())].count("\n")
                raise SettingError(
                    f"Line {number} of {file.absolute()} is not NAME=value, with a quote at both ends or at neither."
                )


def read_setting(env: FileAwareEnv, name: str) -> str | None:
    """Return one variable's text, or nothing where it is missing or empty.

    Editors, shells and containers' env files add marks, white space and quotes around it, which are taken off; white
    space, a file's last line break most of all, without a word.

    Raises:
        SettingError: its `…_FILE` twin names no readable file, or an empty one; a quote is at one end only.

    """
    try:
        file: str | None = env.str(f"{name}_FILE", None)
        text: str | None = env.str(name, None)
    except (EnvError, ValueError, OSError) as error:
        raise SettingError(f"{name}_FILE must name a readable text file in UTF-8 ({_found_there(error)}).") from None
    plain = (text or "").strip()
    if plain.startswith(_BYTE_ORDER_MARK):
        _log.warning("settings.taken_off a byte order mark from %s; save it as plain UTF-8", name)
        plain = plain.removeprefix(_BYTE_ORDER_MARK).strip()
    if len(plain) > 1 and plain[0] == plain[-1] and plain[0] in _QUOTES:
        _log.warning("settings.taken_off the quotes around %s; they are not part of the value", name)
        plain = plain[1:-1].strip()
    elif plain and set(_QUOTES) & {plain[0], plain[-1]}:
        raise SettingError(f"{name} has a quote at one end only; remove it, or put quotes around all of it.")
    if file and not plain:
        raise SettingError(f"The file {file} that {name}_FILE names is empty; write the value into it, or name none.")
    return plain or None


def _found_there(error: Exception) -> str:
    """Say what is wrong with a file; the library hides what the system said behind its own error."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError):
        return os.strerror(cause.errno or 0)
    return "What it names is not in UTF-8" if isinstance(error, UnicodeError) else "No file has such a name"


def _default_folder() -> Path:
    try:
        folder = Path(platformdirs.user_data_dir("plexlink", appauthor=False))
    except RuntimeError:
        folder = Path()  # some releases leave the ~ in its place, others raise
    if not folder.is_absolute():
        raise SettingError("PLEXLINK_DATA_DIR is missing, and there is no home folder to keep the data in; set it.")
    return folder


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _plex_url(text: str) -> str:
    parts = parse_url(text, schemes={"http", "https"})
    is_private = parts.hostname in LOOPBACK
    if not (parts.scheme == "https" or is_private) or "@" in parts.netloc or len(text) > _LONGEST_PLEX_URL:
        raise ValueError
    return text.rstrip("/")


def parse_proxy(text: str) -> Secret:
    """Take the address of a proxy, with or without user and password, else raise ValueError."""
    parts = parse_url(text, schemes={"http", "https"})
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    if ":" in unquote(user):
        raise ValueError  # the proxy could not tell where the password begins
    unquote(user + password).encode("latin-1")  # as the HTTP library sends them; of others it makes no header
    return Secret(text)


def parse_url(text: str, *, schemes: set[str]) -> SplitResult:
    """Split an address that has one of the schemes, a host, and, if any, a port that exists; else raise ValueError.

    Stricter than urllib, which leaves out or passes over what the HTTP library reads in another way, or not at all.
    """
    parts = urlsplit(text)
    is_plain = text.isascii() and text.isprintable() and not set(text) & set(" ?#\\")
    if not is_plain or parts.scheme not in schemes or not _PLACE.fullmatch(parts.netloc) or parts.port == 0:
        raise ValueError
    return parts


def _rate(text: str) -> float:
    rate = float(text)
    if not _LEAST_RATE <= rate <= _HIGHEST_RATE:
        raise ValueError
    return rate


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= _HIGHEST_PENDING:
        raise ValueError
    return count


def _days(text: str) -> int:
    days = int(text)
    if not 1 <= days <= _MOST_DAYS:
        raise ValueError
    return days


def _hours(text: str) -> timedelta:
    hours = int(text)
    if not 0 <= hours <= _MOST_HOURS:
        raise ValueError
    return timedelta(hours=hours)


def _ids(text: str) -> tuple[int, ...]:
    ids = tuple(int(item) for item in text.split(",") if item.strip())
    if any(not 0 < each < 2**63 for each in ids):
        raise ValueError
    return ids


def parse_boolean(text: str) -> bool:
    """Take a word for yes or no, else raise ValueError."""
    words = {
        "true": True,
        "yes": True,
        "on": True,
        "1": True,
        "false": False,
        "no": False,
        "off": False,
        "0": False,
    }
    try:
        return words[text.lower()]
    except KeyError:
        raise ValueError from None
