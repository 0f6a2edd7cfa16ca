"""The settings of the process; the plugin's own are read beside them."""

from __future__ import annotations

import base64
import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from plexlink.errors import SettingError
from plexlink.models import Secret
from plexlink.settings import PlexLinkSettings, SettingReader, parse_url

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from environs import FileAwareEnv

_LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR"}
_FORMATS = {"console", "json"}
_SECRET_VARIABLES = ("DISCORD_TOKEN", "PLEXLINK_DATABASE_URL", "PLEXLINK_KEYS", "PLEXLINK_PROXY")
_USER_INFO = re.compile(r"://([^/]*)@([^/]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class BotSettings:
    """What the process can be told."""

    discord_token: Secret
    plexlink: PlexLinkSettings
    discord_api_url: str | None = None
    log_format: str = "console"
    log_level: int = logging.INFO
    parts: tuple[Secret, ...] = field(init=False, repr=False, compare=False)
    """What of the secrets could leak by itself; held for whoever keeps secrets out of a log by their value."""

    def __post_init__(self) -> None:
        keys, addresses = self.plexlink.keys, (self.plexlink.database_url, self.plexlink.proxy)
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
        token = reader.read("DISCORD_TOKEN", Secret, None, "a bot token")
        if token is None:
            raise SettingError(
                "DISCORD_TOKEN is missing: create a bot at https://discord.com/developers/applications "
                "and put its token into .env as DISCORD_TOKEN=…"
            )
        return cls(
            discord_token=token,
            plexlink=PlexLinkSettings.load(env),
            discord_api_url=reader.read("PLEXLINK_DISCORD_API_URL", _url, None, "an http:// or https:// address"),
            log_format=reader.read("PLEXLINK_LOG_FORMAT", _format, "console", "console or json"),
            log_level=reader.read("PLEXLINK_LOG_LEVEL", _level, logging.INFO, "DEBUG, INFO, WARNING or ERROR"),
        )


def forget_secrets(environment: MutableMapping[str, str]) -> None:
    """Take the secrets out of an environment that was read, so that no other program inherits them.

    What the system shows of this process (`/proc/<pid>/environ`) stays as it was at the start.
    """
    for name in _SECRET_VARIABLES:
        environment.pop(name, None)


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


def _url(text: str) -> str:
    if "@" in parse_url(text, schemes={"http", "https"}).netloc:
        raise ValueError  # the bot token is what we sign in with; the HTTP library refuses to send both
    return text.rstrip("/")


def _format(text: str) -> str:
    if text.lower() not in _FORMATS:
        raise ValueError
    return text.lower()


def _level(text: str) -> int:
    if text.upper() not in _LEVELS:
        raise ValueError
    return logging.getLevelNamesMapping()[text.upper()]
