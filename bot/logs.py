"""Logs: readable lines for people, JSON lines for machines, and no secret in either.

The code logs no secret: that is the first line of defence. The second is here: whatever this process prints, a
traceback of a library included, is searched for the secrets that it holds at the time.
"""

from __future__ import annotations

import io
import json
import logging
import re
import select
import sys
import threading
import weakref
from collections import Counter, deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from aiohttp.http import HttpProcessingError
from aiohttp.web import RequestPayloadError

from plexlink.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

_BODIES = ("discord.http", "discord.gateway", "discord.client", "discord.webhook.async_", "aiosqlite")
"""These print at DEBUG what passes through them: codes, interaction tokens, and envelopes that are erased later."""

_OURS = ("plexlink", "plexlink_bot")

_WEB_SERVER = "aiohttp.server"
_SENDERS_FAULTS = (HttpProcessingError, RequestPayloadError)

MARK: Final = "[secret]"

LEAST_LENGTH: Final = 12
"""Shorter secrets, such as codes of four characters and PIN ids, are not searched for: innocent text holds them too."""

_SAME_EVERYWHERE = re.compile(r"[\w.~-]*", re.ASCII)


class KnownSecrets:
    """The long secrets that the process holds, to be struck out of texts.

    A secret is known for as long as somebody holds it. It is found by its first characters, so that a text costs
    its own length, however many secrets there are. Threads may use this at the same time.
    """

    def __init__(self) -> None:
        self._spellings: Counter[str] = Counter()
        self._heads: Counter[str] = Counter()
        self._holders: dict[int, tuple[weakref.ref[Secret], tuple[str, ...]]] = {}
        self._gone: deque[weakref.ref[Secret]] = deque()
        self._go = self._gone.append  # one for all holders, who would have one each
        # The garbage collector may run, and log, in the middle of everything: hence reentrant.
        self._lock = threading.RLock()

    def add(self, secret: Secret) -> None:
        """Know a secret until nobody holds it any more; of equal ones, until the last is gone."""
        spellings = tuple(each for each in _spellings(secret.reveal()) if len(each) >= LEAST_LENGTH)
        if not spellings:
            return
        with self._lock:
            self._forget_gone()
            holder = weakref.ref(secret, self._go)
            self._holders[id(holder)] = holder, spellings
            self._spellings.update(spellings)
            self._heads.update(map(_head, spellings))

    def strike_out(self, text: str) -> str:
        """Return the text with a mark in place of every known secret."""
        last = len(text) - LEAST_LENGTH
        if self._heads.keys().isdisjoint(text[at : at + LEAST_LENGTH] for at in range(last + 1)):
            return text
        with self._lock:
            found = [each for each in self._spellings if each in text]
        for spelling in sorted(found, key=len, reverse=True):  # a URL before the password in it
            text = text.replace(spelling, MARK)
        return text

    def _forget_gone(self) -> None:
        while self._gone:
            _, spellings = self._holders.pop(id(self._gone.popleft()))
            for spelling in spellings:
                _uncount(self._spellings, spelling)
                _uncount(self._heads, _head(spelling))


def _uncount(counts: Counter[str], text: str) -> None:
    counts[text] -= 1
    if not counts[text]:
        del counts[text]


def _head(spelling: str) -> str:
    return spelling[:LEAST_LENGTH]


def _spellings(value: str) -> set[str]:
    """Return how a value may stand in a text: as it is, quoted as in a URL, escaped as in a `repr` or in JSON."""
    if _SAME_EVERYWHERE.fullmatch(value):
        return {value}
    plain = {value, unquote(value), quote(value, errors="replace"), quote(value, safe="", errors="replace")}
    printed = plain | {show(each)[1:-1] for each in plain for show in (repr, ascii)}
    return printed | {json.dumps(each, ensure_ascii=escapes)[1:-1] for each in printed for escapes in (True, False)}


class _GuardedStream(io.TextIOWrapper):
    """A standard stream without secrets."""

    def __init__(self, stream: TextIO, strike_out: Callable[[str], str]) -> None:
        super().__init__(stream.buffer, encoding=stream.encoding, errors=stream.errors, line_buffering=True)
        self._stream = stream  # closes the buffer when it goes
        self._strike_out = strike_out

    def write(self, text: str, /) -> int:
        super().write(self._strike_out(text))
        return len(text)


def guard(known: KnownSecrets) -> None:
    """Strike the secrets that exist from now on out of all that this process prints.

    Log lines, complaints of the logging itself, tracebacks, warnings: all of it goes through these streams.
    """
    Secret.on_creation = known.add
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None:  # without a console there is none
            stream.flush()
            guarded = _GuardedStream(stream, known.strike_out)
            setattr(sys, name, guarded)
            setattr(sys, f"__{name}__", guarded)  # what is left at the interpreter's end


class _Handler(logging.StreamHandler["TextIO"]):
    """Write to a stream; whatever goes wrong, the caller does not hear of it."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):
            if _has_room(self.stream):
                super().emit(record)


def _has_room(stream: TextIO) -> bool:
    """Tell whether a line can be written now: a pipe that nobody empties must not stop the bot."""
    try:
        _, writable, _ = select.select([], [stream.fileno()], [], 0)
    except (OSError, ValueError):  # no descriptor; on Windows, no socket
        return True
    return bool(writable)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, ensure_ascii=False)


def set_up(*, log_format: str, level: int) -> None:
    """Log to standard error in the given format; what libraries have to say at INFO is for those who want DEBUG."""
    handler = _Handler(sys.stderr)
    if log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("{asctime} {levelname:<7} {name}: {message}", style="{"))
    theirs = logging.WARNING if level == logging.INFO else level
    logging.basicConfig(level=theirs, handlers=[handler], force=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(level)
    for name in _BODIES:
        logging.getLogger(name).setLevel(max(theirs, logging.INFO))
    logging.getLogger(_WEB_SERVER).addFilter(_is_no_senders_fault)


def _is_no_senders_fault(record: logging.LogRecord) -> bool:
    """Keep out what whoever reaches a port of ours sends: aiohttp logs it as an error, with a traceback that quotes it.

    Its sender is answered 400. What our own pages raise is of other kinds, and stays an error.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], _SENDERS_FAULTS))
