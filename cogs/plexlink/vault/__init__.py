"""The vault: how PlexLink's secrets lie in the database."""

from .keyring import (
    Key,
    KeyRing,
    create_key_file,
    parse_keys,
    read_key_file,
    write_key_file,
)
from .vault import KeyRecords, Vault

__all__ = [
    "Key",
    "KeyRecords",
    "KeyRing",
    "Vault",
    "create_key_file",
    "parse_keys",
    "read_key_file",
    "write_key_file",
]
