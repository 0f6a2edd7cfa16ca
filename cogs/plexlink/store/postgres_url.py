"""The URL of a PostgreSQL, whatever library a hosting panel wrote it for, as the driver takes it."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ..errors import SettingError

_log = logging.getLogger(__name__)

_KNOWN_OPTIONS = {
    "application_name",
    "dbname",
    "host",
    "options",
    "passfile",
    "password",
    "port",
    "service",
    "servicefile",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "target_session_attrs",
    "user",
}
"""What is passed on to the driver. Hosting panels add words of other libraries, which no server takes."""

_FILES = ("passfile", "sslcert", "sslcrl", "sslkey", "sslrootcert")
_OPTION = re.compile(r"[a-z_]{1,32}")
_MODES = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}


def plain(url: str) -> str:
    """Return a URL as the driver takes it.

    Raises:
        SettingError: it is not one that can be used.

    """
    scheme, _, rest = url.partition("://")
    if scheme.partition("+")[0] not in {"postgres", "postgresql"}:
        raise _bad("must begin with postgresql://")
    if "#" in url:
        raise _bad("has a #; in a user's name or a password, write it as %23")
    try:
        parts = urlsplit(f"postgresql://{rest}")
        _ = parts.port if "," not in parts.netloc else None
    except ValueError:
        raise _bad(
            "cannot be read, or has no port where one should be; in a password, write / as %2F, : as %3A, @ as %40, "
            "? as %3F, [ as %5B and ] as %5D"
        ) from None
    options = parse_qsl(parts.query, keep_blank_values=True)
    passed_over = sorted({name for name, _ in options} - _KNOWN_OPTIONS)
    if not all(map(_OPTION.fullmatch, passed_over)):
        raise _bad("has a ? which begins no options; in a password, write it as %3F")
    if passed_over:
        _log.info("store.options_passed_over %s", ", ".join(passed_over))
    known = {name: value for name, value in options if name in _KNOWN_OPTIONS}
    if known.get("sslmode", "prefer") not in _MODES:
        raise _bad(f"has a sslmode that is none of {', '.join(sorted(_MODES))}")
    for name in _FILES:
        if name in known and known[name] != "system" and not Path(known[name]).expanduser().is_file():
            raise _bad(f"names a file in {name} that is not there")
    known.setdefault("application_name", "plexlink")
    # Behind one name, too, may be another server after a fail-over: one that takes no writes is not connected to.
    known.setdefault("target_session_attrs", "read-write")
    return urlunsplit(parts._replace(query=urlencode(known)))


def _bad(what: str) -> SettingError:
    return SettingError(f"PLEXLINK_DATABASE_URL {what}.")
