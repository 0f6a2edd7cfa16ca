"""Envelopes and keys: what was sealed opens in its place, and nothing else opens anywhere."""

from __future__ import annotations

import base64
import re
import traceback
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from plexlink.errors import BrokenEnvelopeError, SettingError, UnknownKeyError
from plexlink.secret import Cell, Secret
from plexlink.store import tables
from plexlink.vault import Key, KeyRing, Vault, parse_keys, read_key_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEYS = {key_id: Key(key_id, bytes([number]) * 32) for number, key_id in enumerate(["a", "B", "0-_", "x" * 32])}
RING = KeyRing(KEYS)
PLAIN = Secret("planted-token-of-plex")
CELL = Cell("plexlink_links", "token_envelope", "AAAAAAAAAAAAAAAAAAAAAA", 42)

words = st.text(st.characters(exclude_categories=["Cs"]))
sealed_columns = [
    (table.name, column.name)
    for table in tables.metadata.tables.values()
    for column in table.columns
    if column.name.endswith("_envelope")
]
cells = st.builds(
    lambda place, row_id, user_id: Cell(*place, row_id, user_id),
    st.sampled_from(sealed_columns),
    st.from_regex(r"[A-Za-z0-9_-]{22}", fullmatch=True) | words,
    st.integers(0, 2**63 - 1),
)


def vault_with(primary: str) -> Vault:
    """Return a vault whose ring holds all keys, and which seals with one of them."""
    ring = KeyRing({primary: KEYS[primary], **KEYS})
    return Vault(ring=ring, records=Vault.first_records(ring), reload=lambda: ring)


VAULTS = {key_id: vault_with(key_id) for key_id in KEYS}
VAULT = VAULTS["a"]
ENVELOPE = VAULT.encrypt(PLAIN, CELL)


def stays_shut(envelope: str, cell: Cell = CELL) -> Exception:
    """Hold that an envelope does not open, and that what is said about it repeats nothing of it."""
    with pytest.raises((BrokenEnvelopeError, UnknownKeyError)) as raised:
        VAULT.decrypt(envelope, cell)
    said = "".join(traceback.format_exception(raised.value)) + repr(raised.value)
    assert "planted" not in said
    body = envelope.rpartition(":")[2]
    assert len(body) < 8 or body not in said
    assert len(str(raised.value)) < 100
    assert str(raised.value).isprintable(), "it stands in one line of a log"
    return raised.value


# --- sealing ---


@given(key_id=st.sampled_from(sorted(KEYS)), text=words, cell=cells)
@example(key_id="a", text="", cell=CELL)
@example(key_id="a", text="\x00" * 100_000, cell=CELL)
def test_any_text_opens_in_its_cell_whichever_key_sealed_it(key_id: str, text: str, cell: Cell) -> None:
    envelope = VAULTS[key_id].encrypt(Secret(text), cell)
    assert VAULT.decrypt(envelope, cell) == Secret(text)
    assert re.fullmatch(rf"plk1:{key_id}:[A-Za-z0-9_-]+={{0,2}}", envelope)
    sealed, plain = base64.urlsafe_b64decode(envelope.rpartition(":")[2]), text.encode()
    assert len(sealed) == 12 + len(plain) + 16, "a nonce and a tag"
    assert len(plain) < 8 or (text not in envelope and plain not in sealed)


@given(cell=cells, data=st.data())
def test_no_envelope_opens_where_one_part_of_its_cell_differs(cell: Cell, data: st.DataObject) -> None:
    part = data.draw(st.sampled_from(Cell._fields))
    other = getattr(data.draw(cells), part)
    assume(other != getattr(cell, part))
    stays_shut(VAULT.encrypt(PLAIN, cell), cell._replace(**{part: other}))


# --- what becomes of an envelope that somebody touched ---


def spliced(text: str, at: int, length: int, inserted: str) -> str:
    return text[:at] + inserted + text[at + length :]


def bits_flipped(envelope: str, at: int, mask: int) -> str:
    head, _, body = envelope.rpartition(":")
    raw = bytearray(base64.urlsafe_b64decode(body))
    raw[at % len(raw)] ^= mask
    return f"{head}:{base64.urlsafe_b64encode(raw).decode()}"


def respelled(envelope: str, spare: int) -> str:
    """Set the bits at the end of base64 that stand for nothing."""
    text, padding = envelope.rstrip("="), len(envelope) - len(envelope.rstrip("="))
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(text[-1]) ^ (spare % 4**padding)
    return text[:-1] + alphabet[last] + "=" * padding


MARKS = ["=", "==", "\n", " ", "\x00", "+", "/", "-", "_", ":", "%3D", "\u0661", "\uff21", "\u200b", "\ud800", "\ufeff"]

touched = st.one_of(
    st.builds(spliced, st.just(ENVELOPE), st.integers(0, len(ENVELOPE)), st.integers(0, 3), st.sampled_from(MARKS)),
    st.builds(spliced, st.just(ENVELOPE), st.integers(0, len(ENVELOPE)), st.integers(0, 9), st.text(max_size=3)),
    st.builds(bits_flipped, st.just(ENVELOPE), st.integers(0, 100), st.integers(1, 255)),
    st.builds(lambda key_id: ENVELOPE.replace(":a:", f":{key_id}:"), st.sampled_from(sorted(KEYS)) | st.text()),
    st.builds(
        lambda scheme: ENVELOPE.replace("plk1", scheme, 1), st.sampled_from(["PLK1", "plk2", "", "plk", "plk\u0661"])
    ),
    st.builds(lambda length: ENVELOPE[:length], st.integers(0, len(ENVELOPE))),
    st.builds(lambda change: change(ENVELOPE), st.sampled_from([str.lower, str.upper, str.swapcase, str.strip])),
)


@given(touched)
@example(f"{ENVELOPE}\n")
@example(f" {ENVELOPE}")
@example(f"{ENVELOPE}=")
@example("plk1:a:AAAA")
def test_an_envelope_that_was_touched_opens_nowhere(envelope: str) -> None:
    assume(envelope != ENVELOPE)
    error = stays_shut(envelope)
    # Only another name of a key may be taken for a key that the host can bring back.
    assert isinstance(error, BrokenEnvelopeError) or envelope.split(":")[1] not in KEYS


@given(text=words, spare=st.integers(1, 15))
def test_an_envelope_has_one_spelling(text: str, spare: int) -> None:
    envelope = VAULT.encrypt(Secret(text), CELL)
    other = respelled(envelope, spare)
    assume(other != envelope)
    assert base64.urlsafe_b64decode(other.rpartition(":")[2]) == base64.urlsafe_b64decode(envelope.rpartition(":")[2])
    stays_shut(other)


@given(one=words, other=words, at=st.integers(0, 40))
def test_two_envelopes_cannot_be_mixed(one: str, other: str, at: int) -> None:
    bodies = [base64.urlsafe_b64decode(VAULT.encrypt(Secret(text), CELL).rpartition(":")[2]) for text in (one, other)]
    mixed = bodies[0][:at] + bodies[1][at:]
    assume(mixed not in bodies)
    stays_shut(f"plk1:a:{base64.urlsafe_b64encode(mixed).decode()}")


@given(st.text() | st.text("plk1:aB0-_= \n+/", max_size=60) | st.from_regex(r"plk1:a:[A-Za-z0-9_-]{0,80}={0,3}"))
def test_no_text_opens_that_was_never_sealed(text: str) -> None:
    stays_shut(text)


@given(st.text(max_size=40) | st.from_regex(r"[A-Za-z0-9_-]{1,33}", fullmatch=True))
def test_only_a_name_that_a_key_can_have_is_an_unknown_key(key_id: str) -> None:
    # An unknown key is the host's to bring back; damage is not, and the member must start again.
    assume(key_id not in KEYS)
    error = stays_shut(ENVELOPE.replace(":a:", f":{key_id}:"))
    is_name = re.fullmatch(r"[A-Za-z0-9_-]{1,32}", key_id) is not None
    assert type(error) is (UnknownKeyError if is_name else BrokenEnvelopeError)


# --- keys ---

MATERIAL = base64.b64encode(b"planted-material-of-a-secret-key").decode()

key_texts = st.lists(
    st.sampled_from(["a", "b", ":", ",", "\n", "\r\n", "#", " ", "=", "\x00", "\u2028", "\ud800", "a:", "\x85"])
    | st.just(MATERIAL)
    | st.builds(lambda cut: MATERIAL[:cut], st.integers(0, 44))
    | st.binary(max_size=40).map(lambda material: base64.urlsafe_b64encode(material).decode())
    | st.text(max_size=5),
    max_size=8,
).map("".join)


def holds_keys(ring: KeyRing) -> bool:
    first = ring.first()
    return (
        first.id in ring
        and ring.get(first.id) is first
        and re.fullmatch(r"[A-Za-z0-9_-]{1,32}", first.id) is not None
        and len(first.material) == 32
        and MATERIAL not in repr(first)
    )


def read_or_refused(read: Callable[[], KeyRing], source: str) -> None:
    try:
        ring = read()
    except SettingError as error:
        refusal = error
    else:
        assert holds_keys(ring)
        return
    said = "".join(traceback.format_exception(refusal)) + repr(refusal)
    assert source in str(refusal)
    assert not any(MATERIAL[at : at + 33] in said for at in range(12)), "a key's name is at most 32 long"


@given(key_texts)
@example(f"a:{MATERIAL}")
@example(f"a:{MATERIAL},a:{MATERIAL}")
@example(f"{MATERIAL}:a")
@example("a:AAAA")
@example(f"a{MATERIAL[:40]}:{MATERIAL}")
@example(f"a:{MATERIAL}{MATERIAL}")
def test_any_text_is_keys_or_a_setting_error_that_holds_none(text: str) -> None:
    read_or_refused(lambda: parse_keys(text, source="PLEXLINK_KEYS"), "PLEXLINK_KEYS")


@given(content=st.binary(max_size=60) | key_texts.map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(content=f"a:{MATERIAL}\n".encode())
@example(content=f"a:{MATERIAL}\n\xff".encode("latin-1"))
@example(content=f"a:{MATERIAL}\n".encode("utf-16"))
def test_any_key_file_is_keys_or_a_setting_error_that_names_it(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "plexlink.key"
    path.write_bytes(content)
    read_or_refused(lambda: read_key_file(path), str(path))
