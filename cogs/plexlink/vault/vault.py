"""Envelopes: AES-256-GCM, bound to the cell they lie in.

An envelope is the text `plk1:<key id>:<base64url(nonce ‖ ciphertext)>`. Its associated data names table, column,
row and member, so that an envelope which was moved does not open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..errors import BrokenEnvelopeError, SettingError, UnknownKeyError, VaultError, WrongKeysError
from ..secret import Cell, Secret
from .keyring import KEY_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from .keyring import Key, KeyRing

_log = logging.getLogger(__name__)

_SCHEME = "plk1"
_ENVELOPE = re.compile(rf"{_SCHEME}:(?P<key_id>{KEY_ID.pattern}):(?P<body>[A-Za-z0-9_-]+={{0,2}})")
_NONCE_BYTES = 12
_CANARY = "plexlink canary"
_CANARY_CELL = Cell("plexlink_keys", "value", "canary", 0)
_LOOKUP_CELL = Cell("plexlink_keys", "value", "lookup", 0)
_SIGNING_CELL = Cell("plexlink_keys", "value", "signing", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecords:
    """What the database keeps about keys: which one is primary, and sealed the canary and two keys for hashes.

    One is for the accounts' lookups, one for the rows' signatures; databases of before revision 0005 have no such one.
    """

    primary: str
    canary: str
    lookup: str
    signing: str | None = None


class Vault:
    """Encrypt and decrypt secrets, and turn account ids into lookup keys."""

    def __init__(self, *, ring: KeyRing, records: KeyRecords, reload: Callable[[], KeyRing]) -> None:
        self._ring = ring
        self._primary = records.primary
        self._lookup = records.lookup
        self._reload = reload
        self._records = records
        self._ciphers: dict[str, AESGCM] = {}
        self._missing: set[str] = set()
        self._check_canary(records)
        self._lookup_key = self._open_key(records.lookup, _LOOKUP_CELL)
        self._signing_key = None if records.signing is None else self._open_key(records.signing, _SIGNING_CELL)

    @property
    def ring(self) -> KeyRing:
        """The keys that this process knows at present."""
        return self._ring

    def check(self) -> None:
        """Look whether the keys that are to be had now are still those that the data was written with.

        Raises:
            VaultError: the next start would refuse them.

        """
        Vault(ring=self._reload(), records=self._records, reload=self._reload)

    @staticmethod
    def first_records(ring: KeyRing) -> KeyRecords:
        """Return the records of a new database: its first key is primary, the others are fresh."""
        key = ring.first()
        cipher = AESGCM(key.material)
        return KeyRecords(
            primary=key.id,
            canary=_seal(cipher, key.id, _canary(key.id), _CANARY_CELL),
            lookup=_seal(cipher, key.id, _fresh_key(), _LOOKUP_CELL),
            signing=_seal(cipher, key.id, _fresh_key(), _SIGNING_CELL),
        )

    @property
    def signs(self) -> bool:
        """Whether there is a key for signatures: a database of before revision 0005 has none."""
        return self._signing_key is not None

    def completed(self) -> dict[str, str]:
        """Return what the records of such a database are today."""
        return {
            "primary": self._primary,
            "canary": self.encrypt(_canary(self._primary), _CANARY_CELL),
            "lookup": self._lookup,
            "signing": self.encrypt(_fresh_key(), _SIGNING_CELL),
        }

    @property
    def primary(self) -> str:
        """The id of the key that seals."""
        return self._primary

    def succeeded_by(self, key: Key) -> KeyRecords:
        """Return the records of the same database with another key as primary; the keys for hashes stay what they are.

        Raises:
            WrongKeysError: it is of before revision 0005; see `completed`.

        """
        if self._signing_key is None:
            raise _unsigned()
        cipher = AESGCM(key.material)
        return KeyRecords(
            primary=key.id,
            canary=_seal(cipher, key.id, _canary(key.id), _CANARY_CELL),
            lookup=_seal(cipher, key.id, Secret(self._lookup_key.hex()), _LOOKUP_CELL),
            signing=_seal(cipher, key.id, Secret(self._signing_key.hex()), _SIGNING_CELL),
        )

    def encrypt(self, secret: Secret, cell: Cell) -> str:
        """Return an envelope of `secret` that opens in `cell` only, made with the primary key."""
        return _seal(self._cipher(self._primary), self._primary, secret, cell)

    def decrypt(self, envelope: str, cell: Cell) -> Secret:
        """Open an envelope.

        Raises:
            UnknownKeyError: its key is not in the ring, also after the ring was read again.
            BrokenEnvelopeError: it was damaged, or made for another cell.

        """
        key_id, body = _parse(envelope)
        try:
            plain = self._cipher(key_id).decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], _associated(cell))
            return Secret(plain.decode())
        except (InvalidTag, ValueError):
            raise BrokenEnvelopeError("an envelope does not open in its place") from None

    def lookup(self, account_id: Secret) -> str:
        """Return the keyed hash under which a Plex account is found."""
        return hmac.new(self._lookup_key, account_id.reveal().encode(), hashlib.sha256).hexdigest()

    def sign(self, *values: object) -> str:
        """Return the keyed hash of what is not secret, but decides where secrets go.

        Raises:
            WrongKeysError: the records are of before revision 0005; see `completed`.

        """
        if self._signing_key is None:
            raise _unsigned()
        text = "\x1f".join("" if value is None else str(value) for value in values)
        return hmac.new(self._signing_key, text.encode(), hashlib.sha256).hexdigest()

    def _check_canary(self, records: KeyRecords) -> None:
        """Raise WrongKeysError unless the canary names the primary key; one that names none is of before 0005."""
        expected = Secret(_CANARY) if records.signing is None else _canary(records.primary)
        try:
            seen = self.decrypt(records.canary, _CANARY_CELL)
            self._cipher(self._primary)
        except VaultError:
            seen = None
        if seen != expected:
            raise WrongKeysError(
                "The keys are not those that the database was written with: "
                f"PLEXLINK_KEYS or the key file must hold the key {records.primary}, unchanged."
            )

    def _open_key(self, record: str, cell: Cell) -> bytes:
        try:
            return bytes.fromhex(self.decrypt(record, cell).reveal())
        except VaultError:
            raise WrongKeysError(
                f"The database's {cell.row_id} key is damaged; restore the database from a backup."
            ) from None

    def _cipher(self, key_id: str) -> AESGCM:
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            cipher = self._ciphers[key_id] = AESGCM(self._material(key_id))
        return cipher

    def _material(self, key_id: str) -> bytes:
        if key_id not in self._ring and key_id not in self._missing:
            self._read_ring_again(key_id)
        key = self._ring.get(key_id)
        if key is None:
            raise UnknownKeyError(f"the key {key_id} is not in the ring")
        return key.material

    def _read_ring_again(self, key_id: str) -> None:
        self._missing.add(key_id)
        try:
            self._ring = self._reload()
        except (SettingError, VaultError) as error:
            _log.warning("vault.ring_unreadable %s", error)


def key_of(envelope: str) -> str:
    """Return the id of the key that an envelope names. Raises BrokenEnvelopeError where it is none."""
    return _parse(envelope)[0]


def _unsigned() -> WrongKeysError:
    return WrongKeysError("The database is of another version; start this version's bot first.")


def _canary(primary: str) -> Secret:
    """Return what lies in the database to be opened first; nobody else can name another key as primary."""
    return Secret(f"{_CANARY}, {primary}")


def _fresh_key() -> Secret:
    return Secret(secrets.token_hex(32))


def _seal(cipher: AESGCM, key_id: str, secret: Secret, cell: Cell) -> str:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = nonce + cipher.encrypt(nonce, secret.reveal().encode(), _associated(cell))
    return f"{_SCHEME}:{key_id}:{base64.urlsafe_b64encode(sealed).decode()}"


def _parse(envelope: str) -> tuple[str, bytes]:
    match = _ENVELOPE.fullmatch(envelope)
    if match is None:
        raise BrokenEnvelopeError("this is not an envelope")
    try:
        sealed = base64.urlsafe_b64decode(match["body"])
    except binascii.Error:
        raise BrokenEnvelopeError("an envelope is not base64") from None
    if base64.urlsafe_b64encode(sealed).decode() != match["body"]:
        # Base64 has spare bits at its end; an envelope has one spelling, so that no change of it goes unnoticed.
        raise BrokenEnvelopeError("an envelope is not spelled as it was written")
    return match["key_id"], sealed


def _associated(cell: Cell) -> bytes:
    return "\x1f".join((cell.table, cell.column, cell.row_id, str(cell.user_id))).encode()
