"""Secrets in and out of one row."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from ..errors import BrokenEnvelopeError, UnknownKeyError
from ..models import Trouble
from ..secret import Cell, Secret

if TYPE_CHECKING:
    from sqlalchemy import Row, Table


_log = logging.getLogger(__name__)

_UNREADABLE = Secret("")


class Sealer(Protocol):
    """What the store needs of a vault."""

    def encrypt(self, secret: Secret, cell: Cell) -> str:
        """Return an envelope."""
        ...

    def decrypt(self, envelope: str, cell: Cell) -> Secret:
        """Open an envelope."""
        ...

    def lookup(self, account_id: Secret) -> str:
        """Return the keyed hash of an account id."""
        ...

    def sign(self, *values: object) -> str:
        """Return the keyed hash of what is not secret, but decides where secrets go."""
        ...


class Sealing:
    """Write the secrets of one row."""

    def __init__(self, vault: Sealer, table: Table, row_id: str, user_id: int) -> None:
        self._vault = vault
        self._place = (table.name, row_id, user_id)

    def __call__(self, column: str, secret: Secret | None) -> str | None:
        """Return the envelope of a secret for this column; nothing stays nothing."""
        if secret is None:
            return None
        table, row_id, user_id = self._place
        return self._vault.encrypt(secret, Cell(table, column, row_id, user_id))


class Opening:
    """Read the secrets of one row, and remember what is wrong instead of raising: others go on.

    `user_id` is named where the row is no member's.
    """

    def __init__(
        self, vault: Sealer, table: Table, row: Row[tuple[object, ...]], *, user_id: int | None = None
    ) -> None:
        self._vault = vault
        self._table = table.name
        self._row = row
        self._user_id: int = row.user_id if user_id is None else user_id
        self.trouble: Trouble | None = None

    def optional(self, column: str) -> Secret | None:
        """Return the secret in a column, or nothing."""
        envelope = self._row._mapping[column]  # noqa: SLF001 - SQLAlchemy's public way to a column by name
        if envelope is None:
            return None
        try:
            return self._vault.decrypt(envelope, Cell(self._table, column, str(self._row.id), self._user_id))
        except UnknownKeyError as error:
            self._remember(Trouble.UNAVAILABLE, error)
        except BrokenEnvelopeError as error:
            self._remember(Trouble.BROKEN, error)
        return None

    def required(self, column: str) -> Secret:
        """Return the secret in a column; an empty one where it cannot be read."""
        return self.optional(column) or _UNREADABLE

    def _remember(self, trouble: Trouble, error: Exception) -> None:
        _log.warning("store.unreadable table=%s row=%s: %s", self._table, self._row.id, error)
        if self.trouble is not Trouble.UNAVAILABLE:
            self.trouble = trouble
