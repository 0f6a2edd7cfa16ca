"""Words in rows: a newer release may write some that this one does not know; that is its row's trouble alone."""

from __future__ import annotations

import logging
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import NewerRowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Row

_log = logging.getLogger(__name__)

W = TypeVar("W", bound=StrEnum)
T = TypeVar("T")


def read_word(kind: type[W], text: str) -> W:
    """Return the value that a word in a row stands for.

    Raises:
        NewerRowError: this release does not know it.

    """
    try:
        return kind(text)
    except ValueError:
        raise NewerRowError(f"This release knows no {kind.__name__.lower()} {text!r}; a newer one wrote it.") from None


def read_optional_word(kind: type[W], text: str | None) -> W | None:
    """Return what `read_word` does; nothing stays nothing. Raise as it does."""
    return None if text is None else read_word(kind, text)


def readable(rows: Iterable[Row[Any]], load: Callable[[Row[Any]], T]) -> list[T]:
    """Return the rows that can be read; of each of the others it is said once in the log."""
    found = []
    for row in rows:
        try:
            found.append(load(row))
        except NewerRowError as error:
            _say_once(row.id, str(error))
    return found


@lru_cache(maxsize=1024)
def _say_once(row_id: object, sentence: str) -> None:
    _log.error("store.newer_row id=%s is left alone: %s", row_id, sentence)
