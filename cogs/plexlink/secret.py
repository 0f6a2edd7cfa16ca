"""Texts that no log, traceback or `repr` shows, and the places where they are stored."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, ClassVar, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable


class Secret:
    """A text that is only seen where it is asked for by name."""

    __slots__ = ("__weakref__", "_value")

    on_creation: ClassVar[Callable[[Secret], object] | None] = None
    """Told of every new secret: how the process keeps them out of its log. In other people's bots nobody sets it."""

    def __init__(self, value: str) -> None:
        self._value = value
        if Secret.on_creation is not None:
            Secret.on_creation(self)

    def reveal(self) -> str:
        """Return the text; where a value leaves: for plex.tv, Discord, an envelope, a card, callers of `token_for`."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(****)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "Secret(****)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")


class Cell(NamedTuple):
    """The place of one stored secret; an envelope opens in its own cell only."""

    table: str
    column: str
    row_id: str
    user_id: int
