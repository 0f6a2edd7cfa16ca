"""The vault: how PlexLink's secrets lie in the database."""

from .keyring import (
    Key,
    KeyRing,
    change_key_file,
    create_key_file,
    fresh_key,
    parse_keys,
    read_key_file,
    write_key_file,
)
from .vault import KeyRecords, Vault, key_of

__all__ = [
    "Key",
    "KeyRecords",
    "KeyRing",
    "Vault",
    "change_key_file",
    "create_key_file",
    "fresh_key",
    "key_of",
    "parse_keys",
    "read_key_file",
    "write_key_file",
]
