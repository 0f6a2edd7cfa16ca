"""The key ring: named 256-bit keys, from a setting or a file."""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from ..errors import SettingError
from ..files import OWNER_ONLY, draft_of, put_in_place, synchronise
from ..secret import Secret

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_KEY_BYTES = 32
_HEADER = "# PlexLink's keys. Whoever has this file and the database can read every Plex token. Back it up apart.\n"


@dataclass(frozen=True, slots=True)
class Key:
    """One AES-256 key and the name that envelopes call it by."""

    id: str
    material: bytes = field(repr=False)
    text: Secret = field(init=False, repr=False, compare=False)
    """The key as it stands in the file, for whoever keeps secrets out of a log by their value."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", Secret(base64.b64encode(self.material).decode()))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled")


class KeyRing:
    """All keys that this process may decrypt with, in the order they were given."""

    def __init__(self, keys: Mapping[str, Key]) -> None:
        self._keys = dict(keys)

    def __contains__(self, key_id: str) -> bool:
        return key_id in self._keys

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys.values())

    def get(self, key_id: str) -> Key | None:
        """Return the key of that name, if it is in the ring."""
        return self._keys.get(key_id)

    @property
    def mark(self) -> int:
        """A number that is another one when a key's id comes or goes; it tells nothing of what is secret."""
        return zlib.crc32(",".join(sorted(self._keys)).encode())

    def with_first(self, key: Key) -> KeyRing:
        """Return the ring with one more key, the first."""
        return KeyRing({key.id: key, **self._keys})

    def without(self, key_ids: Collection[str]) -> KeyRing:
        """Return the ring without some keys."""
        return KeyRing({key.id: key for key in self if key.id not in key_ids})

    def text(self) -> Secret:
        """Return what stands in a key file."""
        return Secret(_HEADER + "".join(f"{key.id}:{key.text.reveal()}\n" for key in self))

    def first(self) -> Key:
        """Return the key that a new database starts with, and that another one changes to."""
        return next(iter(self))


def parse_keys(text: str, *, source: str) -> KeyRing:
    """Read `id:base64,id:base64`; commas and line ends separate, lines that start with # are passed over.

    Raises:
        SettingError: naming `source`, never what stands in it.

    """
    keys: dict[str, Key] = {}
    for item in _items(text):
        key = _parse_key(item, source)
        if key.id in keys:
            raise SettingError(f"{source} names the key {key.id} twice; keep one of the two.")
        keys[key.id] = key
    if not keys:
        raise SettingError(f"{source} holds no key; write at least one as id:base64, or remove it.")
    return KeyRing(keys)


def _items(text: str) -> list[str]:
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [item.strip() for line in lines for item in line.split(",") if item.strip()]


def _parse_key(item: str, source: str) -> Key:
    key_id, separator, encoded = item.partition(":")
    if not separator or not KEY_ID.fullmatch(key_id):
        raise SettingError(f"{source} must list keys as id:base64, the id of letters, digits, - and _.")
    try:
        material = base64.b64decode(encoded.strip().replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise SettingError(f"{source}: the key {key_id} is not valid base64.") from None
    if len(material) != _KEY_BYTES:
        raise SettingError(f"{source}: the key {key_id} must have 32 bytes; make one with: openssl rand -base64 32")
    return Key(key_id, material)


def create_key_file(path: Path) -> KeyRing:
    """Write a new key into a new file; see `write_key_file`."""
    key = fresh_key()
    ring = KeyRing({key.id: key})
    write_key_file(path, ring)
    return ring


def fresh_key() -> Key:
    """Return a new key."""
    return Key(secrets.token_hex(4), secrets.token_bytes(_KEY_BYTES))


def write_key_file(path: Path, ring: KeyRing) -> None:
    """Write keys into a new file that only its owner can read (mode 0600), whole or not at all."""
    with _drafted(path, ring) as draft:
        put_in_place(draft, path)


def change_key_file(path: Path, ring: KeyRing) -> None:
    """Write keys into the file that is there, whole or not at all; it stays whose it was."""
    with _drafted(path, ring) as draft:
        if os.name != "nt":
            found = path.stat()
            os.chown(draft, found.st_uid, found.st_gid)  # whoever types may be another than who runs the bot
        draft.replace(path)
        synchronise(path.parent)


@contextmanager
def _drafted(path: Path, ring: KeyRing) -> Iterator[Path]:
    """Write keys into a draft of a file, on the disk when it is given; none is left."""
    draft = draft_of(path)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(ring.text().reveal())
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def read_key_file(path: Path) -> KeyRing:
    """Read a key file.

    Raises:
        SettingError: the file cannot be read, or holds no proper keys.

    """
    try:
        text = path.read_text(encoding="ascii")
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise SettingError(f"The key file {path} cannot be read ({why}); mend its rights, or restore it.") from None
    except UnicodeDecodeError:
        raise SettingError(
            f"The key file {path} is not in plain ASCII; save it so, without a byte order mark, or restore it."
        ) from None
    return parse_keys(text, source=f"The key file {path}")
