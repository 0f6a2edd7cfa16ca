"""What PostgreSQL, its driver and the network refuse, said in one sentence: what is wrong, and what mends it."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncpg
from asyncpg.exceptions import TargetServerAttributeNotMatched
from sqlalchemy.exc import SQLAlchemyError

from ..errors import ConflictError, PlexLinkError, SettingError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_SERVED = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What the driver raises; the last where a connection ends in the very moment in which it is used."""

_REACH = "its server cannot be reached; see that it runs, and that host and port are right"
_LIMIT = "its server has no connection left; raise max_connections, or end others"
_STOPS = "its server is starting or stopping"
_ROOM = "its server's disk is full; make room"
READ_ONLY = "it is read-only, or a replica; name the server that takes writes"
_LOCKED = "another session holds it locked; if none of PlexLink's is slow, look at pg_stat_activity"
_STOOD_STILL = "this process stood still inside a transaction, which its server ended"
RIGHTS = "its user may not create or write PlexLink's tables; make it the owner of the database or of its schema"
_PASSWORD = "its server does not accept the user and the password"  # noqa: S105 - a sentence
_MISSING = "there is no such database; create it"
_ENCRYPTION = "its server does not encrypt connections; turn that on there, or set sslmode to what you want"
_CERTIFICATE = "its server's certificate is not to be trusted; name the authority's in sslrootcert"
POOLED = "a pooler lends a session for one transaction only; connect directly, or let it pool sessions"

READS_ONLY, WAITED_IN_VAIN = "25006", "55P03"

_FOR_NOW = {
    READS_ONLY: READ_ONLY,
    "25P03": _STOOD_STILL,
    "53100": _ROOM,
    "53300": _LIMIT,
    WAITED_IN_VAIN: _LOCKED,
    "57014": _LOCKED,
    "57P01": _STOPS,
    "57P02": _STOPS,
    "57P03": _STOPS,
}
_UNTIL_MENDED = {
    "28000": _PASSWORD,
    "28P01": _PASSWORD,
    "26000": POOLED,
    "3D000": _MISSING,
    "3F000": RIGHTS,
    "42501": RIGHTS,
    "42P05": POOLED,
}
_UNIQUE = "23505"
_PASSING = ("08", "40", "53", "57")
"""Classes of what goes by: connections, serialisation, resources, an operator's intervention."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the driver, the server and the network say as a `StoreError`, without their text.

    Where the URL is at fault it is a `SettingError`.
    """
    try:
        yield
    except (SQLAlchemyError, *NOT_SERVED) as error:
        raise _of_postgres(error) from None


def _of_postgres(error: Exception) -> PlexLinkError:
    """Return what was said in a sentence; nothing of its own text, which may hold statements and addresses."""
    code = code_of(error)
    if code is None:
        return _of_connection(_cause(error))
    if code == _UNIQUE:
        return ConflictError("There may be only one of these, and another one was quicker.")
    if code in _UNTIL_MENDED:
        return for_good(_UNTIL_MENDED[code])
    if code in _FOR_NOW or code.startswith(_PASSING):
        return for_now(_FOR_NOW.get(code, _REACH))
    return for_good(f"its server says {code}; look at its log")


def code_of(error: Exception) -> str | None:
    """Return the code that the server gave to an error, where it comes from there."""
    code: str | None = getattr(_cause(error), "sqlstate", None)
    return code


def _cause(error: Exception) -> BaseException:
    cause: BaseException = getattr(error, "orig", None) or error
    # Not the cancellation behind a time that is over.
    return cause.__cause__ if isinstance(cause.__cause__, NOT_SERVED) else cause


def _of_connection(cause: BaseException) -> PlexLinkError:
    """Return what the driver or the network said, where the server said nothing."""
    if isinstance(cause, asyncpg.ClientConfigurationError):
        return SettingError("PLEXLINK_DATABASE_URL cannot be read.")
    if isinstance(cause, TargetServerAttributeNotMatched):
        return for_now(READ_ONLY)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return for_good(_CERTIFICATE)
    if isinstance(cause, ConnectionError) and "SSL" in str(cause):
        return for_good(_ENCRYPTION)
    if isinstance(cause, NOT_SERVED):
        return for_now(_REACH)
    return for_good(f"its driver says {type(cause).__name__}; this is a fault of PlexLink's")


def for_now(sentence: str) -> StoreUnavailableError:
    """Return what is to be raised for what may go by."""
    return StoreUnavailableError(f"The database cannot be used: {sentence} (PLEXLINK_DATABASE_URL).")


def for_good(sentence: str) -> StoreError:
    """Return what is to be raised for what somebody has to mend."""
    return StoreError(f"The database cannot be used: {sentence} (PLEXLINK_DATABASE_URL).")
