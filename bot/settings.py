"""The settings of the process; the plugin's own are read beside them."""

from __future__ import annotations

import base64
import logging
import re
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from environs import EnvError

from plexlink.errors import SettingError
from plexlink.secret import Secret
from plexlink.settings import LOOPBACK, PlexLinkSettings, SettingReader, parse_boolean, parse_proxy, parse_url
from plexlink.shards import ALL_SHARDS, Shards

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from environs import FileAwareEnv

_LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR"}
_FORMATS = {"console", "json"}
_SECRET_VARIABLES = (
    "DISCORD_TOKEN",
    "PLEXLINK_DATABASE_URL",
    "PLEXLINK_KEYS",
    "PLEXLINK_PROXY",
    "PLEXLINK_DISCORD_PROXY",
)
_STANDARD_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_HIGHEST_PORT = 65_535
_INSECURE = "insecure+"
_OWN_NAME = re.compile(r"[a-z][a-z0-9_-]*|[a-z0-9._-]+\.(?:home\.arpa|internal|lan|local)")
_OWN_NETWORKS = tuple(
    map(ip_network, ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"))
)
_USER_INFO = re.compile(r"://([^/]*)@([^/]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class BotSettings:
    """What the process can be told."""

    discord_token: Secret
    plexlink: PlexLinkSettings
    discord_api_url: str | None = None
    discord_proxy: Secret | None = None
    passed_over: tuple[str, ...] = ()
    """The proxy variables of other programs that are set: they are said, not used."""
    web_host: str = "127.0.0.1"
    web_port: int = 8080
    """Zero: no web server."""
    roles: bool = False
    """Whether those who invite the bot are asked to let it give roles."""
    shards: Shards = ALL_SHARDS
    """Which of the bot's shards this process runs."""
    members_intent: bool = False
    """Whether Discord tells who joins and leaves; it has to be turned on there as well."""
    log_format: str = "console"
    log_level: int = logging.INFO
    parts: tuple[Secret, ...] = field(init=False, repr=False, compare=False)
    """What of the secrets could leak by itself; held for whoever keeps secrets out of a log by their value."""

    def __post_init__(self) -> None:
        keys = self.plexlink.keys
        addresses = (self.plexlink.database_url, self.plexlink.proxy, self.discord_proxy)
        parts = [] if keys is None else _keys(keys.reveal())
        for address in addresses:
            parts += [] if address is None else _parts(address.reveal())
        object.__setattr__(self, "parts", tuple(Secret(part) for part in parts))

    @classmethod
    def load(cls, env: FileAwareEnv) -> BotSettings:
        """Read all settings.

        Raises:
            SettingError: one of them is missing or malformed.

        """
        reader = SettingReader(env)
        token = reader.read("DISCORD_TOKEN", _token, None, "a bot token in one piece, without spaces or line breaks")
        if token is None:
            raise SettingError(
                "DISCORD_TOKEN is missing: create a bot at https://discord.com/developers/applications "
                f"and put its token into .env as DISCORD_TOKEN=… (looked for {Path('.env').absolute()})"
            )
        return cls(
            discord_token=token,
            plexlink=PlexLinkSettings.load(env),
            discord_api_url=reader.read(
                "PLEXLINK_DISCORD_API_URL",
                _discord_url,
                None,
                "https://…, http:// on loopback, or insecure+http:// in a network of your own",
            ),
            discord_proxy=reader.read("PLEXLINK_DISCORD_PROXY", parse_proxy, None, "the http:// address of a proxy"),
            passed_over=_passed_over(env),
            web_host=reader.read("PLEXLINK_WEB_HOST", _host, "127.0.0.1", "an address of this machine, or 0.0.0.0"),
            web_port=reader.read("PLEXLINK_WEB_PORT", _port, 8080, "a port from 0 to 65535; 0 turns the pages off"),
            roles=reader.read("PLEXLINK_ROLES", parse_boolean, False, "true or false"),  # noqa: FBT003 - a default
            members_intent=reader.read("PLEXLINK_MEMBERS_INTENT", parse_boolean, False, "true or false"),  # noqa: FBT003
            shards=reader.read("PLEXLINK_SHARDS", Shards.parse, ALL_SHARDS, "shards as in 0-3/16 or 0/2, or none"),
            log_format=reader.read("PLEXLINK_LOG_FORMAT", _format, "console", "console or json"),
            log_level=reader.read("PLEXLINK_LOG_LEVEL", _level, logging.INFO, "DEBUG, INFO, WARNING or ERROR"),
        )


def forget_secrets(environment: MutableMapping[str, str]) -> None:
    """Take the secrets out of an environment that was read, so that no other program inherits them.

    What the system shows of this process (`/proc/<pid>/environ`) stays as it was at the start.
    """
    for name in _SECRET_VARIABLES:
        environment.pop(name, None)


def _passed_over(env: FileAwareEnv) -> tuple[str, ...]:
    names = [spelling for name in _STANDARD_PROXIES for spelling in (name.upper(), name)]
    return tuple(name for name in names if _is_set(env, name))


def _is_set(env: FileAwareEnv, name: str) -> bool:
    """Tell whether a variable is set that is not ours to complain about."""
    try:
        return bool(env.str(name, ""))
    except (EnvError, ValueError, OSError):  # its `…_FILE` twin names no file
        return False


def _keys(text: str) -> list[str]:
    return [item.partition(":")[2].strip() for item in re.split(r"[,\n]", text)]


def _parts(address: str) -> list[str]:
    """Return host, user and password of an address, as far as it has them, and the header that they make."""
    found = _USER_INFO.search(address)
    if found is None:
        return []
    user_info, host = found.groups()
    header = base64.b64encode(unquote(user_info).encode("latin-1", "replace")).decode()
    return [f"{user_info}@{host}", user_info, user_info.partition(":")[2], header]


def _token(text: str) -> Secret:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError  # it goes into a header
    return Secret(text)


def _discord_url(text: str) -> str:
    """Take what nobody else can read along: the bot token and members' codes go there."""
    address = text.removeprefix(_INSECURE)
    parts = parse_url(address, schemes={"http", "https"})
    if "@" in parts.netloc:
        raise ValueError  # the bot token is what we sign in with; the HTTP library refuses to send both
    host = parts.hostname or ""
    is_accepted = address != text and _is_of_own_network(host)
    if parts.scheme == "http" and host not in LOOPBACK and not is_accepted:
        raise ValueError
    return address.rstrip("/")


def _is_of_own_network(host: str) -> bool:
    """Tell whether an address is a private one; of names, those that the Internet's name servers do not have."""
    try:
        address = ip_address(host)
    except ValueError:
        return bool(_OWN_NAME.fullmatch(host))
    return any(address in network for network in _OWN_NETWORKS)


def _host(text: str) -> str:
    return "127.0.0.1" if text == "localhost" else str(ip_address(text.strip("[]")))


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= _HIGHEST_PORT:
        raise ValueError
    return port


def _format(text: str) -> str:
    if text.lower() not in _FORMATS:
        raise ValueError
    return text.lower()


def _level(text: str) -> int:
    if text.upper() not in _LEVELS:
        raise ValueError
    return logging.getLevelNamesMapping()[text.upper()]
