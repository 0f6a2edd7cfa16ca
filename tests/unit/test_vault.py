"""The vault: envelopes, the canary, the key ring, and secrets that nobody sees."""

from __future__ import annotations

import base64
import copy
import os
import pickle
import re
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plexlink.errors import (
    BrokenEnvelopeError,
    PlexLinkError,
    SettingError,
    UnknownKeyError,
    VaultError,
    WrongKeysError,
)
from plexlink.models import Account, Answer, Approved, Attempt, Link, Pin, SignOut, State
from plexlink.plex.answers import Answer as PlexAnswer
from plexlink.secret import Cell, Secret
from plexlink.vault import Key, KeyRecords, KeyRing, Vault, create_key_file, parse_keys, read_key_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

CELL = Cell("plexlink_links", "token_envelope", "row-one", 42)
PLAIN = Secret("the-token-of-plex")
A = Key("a", bytes(range(32)))
B = Key("b", bytes(range(32, 64)))

SURROGATES = st.characters(exclude_categories=["Cs"])
secrets = st.text(SURROGATES, max_size=60).map(Secret)


def ring(*keys: Key) -> KeyRing:
    return KeyRing({key.id: key for key in keys})


class Source:
    """Where the key ring is read from again; counts how often."""

    def __init__(self, answer: KeyRing | Exception) -> None:
        self.answer = answer
        self.reads = 0

    def __call__(self) -> KeyRing:
        self.reads += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def vault_of(*keys: Key, records: KeyRecords | None = None, reload: Callable[[], KeyRing] | None = None) -> Vault:
    keys_in_ring = ring(*keys)
    return Vault(
        ring=keys_in_ring, records=records or Vault.first_records(keys_in_ring), reload=reload or (lambda: keys_in_ring)
    )


@pytest.fixture(scope="module")
def vault() -> Vault:
    return vault_of(A)


def body_of(envelope: str) -> bytes:
    return base64.urlsafe_b64decode(envelope.split(":")[2])


# --- envelopes ---


@pytest.mark.parametrize(
    "moved",
    [
        CELL._replace(table="plexlink_attempts"),
        CELL._replace(column="client_identifier_envelope"),
        CELL._replace(row_id="row-two"),
        CELL._replace(user_id=43),
        Cell("plexlink_linkstoken_envelope", "", "row-one", 42),
    ],
)
def test_envelope_opens_in_no_other_table_column_row_or_user(vault: Vault, moved: Cell) -> None:
    with pytest.raises(BrokenEnvelopeError):
        vault.decrypt(vault.encrypt(PLAIN, CELL), moved)


def test_envelope_of_another_installation_with_the_same_key_id_does_not_open(vault: Vault) -> None:
    other = vault_of(Key("a", bytes(32)))
    with pytest.raises(BrokenEnvelopeError):
        vault.decrypt(other.encrypt(PLAIN, CELL), CELL)


def test_nonce_is_never_the_same_twice(vault: Vault) -> None:
    envelopes = [vault.encrypt(PLAIN, CELL) for _ in range(2000)]
    assert len({body_of(envelope)[:12] for envelope in envelopes}) == 2000
    assert len({body_of(envelope)[12:] for envelope in envelopes}) == 2000


@unhurried
@given(data=st.data())
def test_every_altered_bit_is_noticed(vault: Vault, data: st.DataObject) -> None:
    body = bytearray(body_of(vault.encrypt(PLAIN, CELL)))
    body[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(BrokenEnvelopeError):
        vault.decrypt(f"plk1:a:{base64.urlsafe_b64encode(body).decode()}", CELL)


# --- keys that the ring does not hold ---


def two_keys() -> tuple[KeyRecords, str]:
    """Return records written with A, and an envelope written with B."""
    return Vault.first_records(ring(A)), vault_of(B).encrypt(PLAIN, CELL)


def test_unknown_key_makes_the_ring_be_read_again_and_found() -> None:
    records, envelope = two_keys()
    source = Source(ring(A, B))
    vault = vault_of(A, records=records, reload=source)
    assert source.reads == 0
    assert vault.decrypt(envelope, CELL) == PLAIN
    assert vault.decrypt(envelope, CELL) == PLAIN
    assert source.reads == 1


def test_unknown_key_makes_the_ring_be_read_again_only_once() -> None:
    records, envelope = two_keys()
    source = Source(ring(A))
    vault = vault_of(A, records=records, reload=source)
    for _ in range(3):
        with pytest.raises(UnknownKeyError):
            vault.decrypt(envelope, CELL)
    assert source.reads == 1


@pytest.mark.parametrize(
    "trouble",
    [SettingError("The key file cannot be read."), WrongKeysError("The key file is missing.")],
    ids=["unreadable", "missing"],
)
def test_ring_that_cannot_be_read_again_leaves_the_key_unknown_and_the_others_usable(trouble: Exception) -> None:
    # Both are what `wiring` raises while the process runs: the file was spoilt, or taken away.
    records, envelope = two_keys()
    vault = vault_of(A, records=records, reload=Source(trouble))
    mine = vault.encrypt(PLAIN, CELL)
    with pytest.raises(UnknownKeyError):
        vault.decrypt(envelope, CELL)
    assert vault.decrypt(mine, CELL) == PLAIN


def test_known_envelopes_never_make_the_ring_be_read_again() -> None:
    source = Source(ring(A))
    vault = vault_of(A, reload=source)
    for _ in range(3):
        vault.decrypt(vault.encrypt(PLAIN, CELL), CELL)
    with pytest.raises(BrokenEnvelopeError):
        vault.decrypt("plk1:a:AAAA", CELL)
    assert source.reads == 0


# --- the canary ---


def test_vault_opens_with_the_keys_that_the_records_were_written_with() -> None:
    records = Vault.first_records(ring(A, B))
    assert records.primary == "a"
    assert vault_of(B, A, records=records).encrypt(PLAIN, CELL).startswith("plk1:a:")


@pytest.mark.parametrize(
    "keys",
    [(B,), (Key("a", bytes(32)),), (B, Key("a", B.material)), (Key("A", A.material),)],
    ids=["foreign key", "changed key of the same id", "the ids exchanged", "same key under another id"],
)
def test_canary_refuses_other_keys(keys: tuple[Key, ...]) -> None:
    with pytest.raises(WrongKeysError, match="PLEXLINK_KEYS") as raised:
        vault_of(*keys, records=Vault.first_records(ring(A)))
    assert "key a," in str(raised.value)


def test_canary_refuses_a_primary_that_is_not_in_the_ring() -> None:
    with pytest.raises(WrongKeysError):
        vault_of(A, records=replace(Vault.first_records(ring(A)), primary="b"))


def test_canary_refuses_another_primary_though_it_is_in_the_ring() -> None:
    with pytest.raises(WrongKeysError):
        vault_of(A, B, records=replace(Vault.first_records(ring(A)), primary="b"))


def of_before_0005(ring_: KeyRing) -> KeyRecords:
    """Return records as they were before: a canary that names no key, and none for signatures."""
    records = Vault.first_records(ring_)
    canary = vault_of(*ring_, records=records).encrypt(
        Secret("plexlink canary"), Cell("plexlink_keys", "value", "canary", 0)
    )
    return replace(records, canary=canary, signing=None)


def test_records_of_before_are_completed_and_do_not_pass_for_those_of_today() -> None:
    before = of_before_0005(ring(A))
    old = vault_of(A, B, records=before)
    today = KeyRecords(**old.completed())
    new = vault_of(A, B, records=today)
    assert new.decrypt(old.encrypt(PLAIN, CELL), CELL) == PLAIN
    assert new.lookup(Secret("1")) == old.lookup(Secret("1"))
    for mixed in (replace(today, canary=before.canary), replace(today, signing=None), replace(today, signing="")):
        with pytest.raises(WrongKeysError):
            vault_of(A, B, records=mixed)


@pytest.mark.parametrize("canary", ["", "plk1:a:AAAA", "nonsense"])
def test_damaged_canary_is_refused(canary: str) -> None:
    with pytest.raises(WrongKeysError):
        vault_of(A, records=replace(Vault.first_records(ring(A)), canary=canary))


def test_records_do_not_stand_in_for_one_another() -> None:
    records = Vault.first_records(ring(A))
    with pytest.raises(WrongKeysError):
        vault_of(A, records=replace(records, canary=records.lookup))
    with pytest.raises(VaultError):
        vault_of(A, records=replace(records, lookup=records.canary))
    with pytest.raises(VaultError):
        vault_of(A, records=replace(records, signing=records.lookup))


def test_new_databases_have_different_records_from_the_same_ring() -> None:
    one, two = Vault.first_records(ring(A)), Vault.first_records(ring(A))
    assert one.canary != two.canary
    assert one.lookup != two.lookup
    assert one.signing != two.signing


# --- signatures ---


def test_signature_is_stable_over_restarts_and_depends_on_every_value_and_its_place() -> None:
    records = Vault.first_records(ring(A))
    assert vault_of(A, records=records).sign("t", 1, None) == vault_of(A, B, records=records).sign("t", 1, None)
    vault = vault_of(A, records=records)
    values = [
        ("t", 1, None),
        ("t", None, 1),
        ("t", 1),
        ("t", 1, 0),
        ("u", 1, None),
        ("t1", None, None),
        ("t", "1", "2"),
    ]
    assert len({vault.sign(*each) for each in values}) == len(values)


# --- look-ups ---


def test_lookup_is_stable_over_restarts() -> None:
    records = Vault.first_records(ring(A))
    lookups = {vault_of(A, B, records=records).lookup(Secret("12345")) for _ in range(3)}
    assert len(lookups) == 1
    assert re.fullmatch(r"[0-9a-f]{64}", lookups.pop())


def test_lookup_depends_on_a_key_of_its_own() -> None:
    lookups = {vault_of(A, records=Vault.first_records(ring(A))).lookup(Secret("12345")) for _ in range(5)}
    assert len(lookups) == 5


@unhurried
@given(secrets, secrets)
def test_lookup_tells_accounts_apart(vault: Vault, one: Secret, other: Secret) -> None:
    assert (vault.lookup(one) == vault.lookup(other)) == (one == other)


# --- the key ring: settings ---


def b64(material: bytes) -> str:
    return base64.b64encode(material).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"a:{b64(A.material)},b:{b64(B.material)}",
        f" a: {b64(A.material)} , b:{b64(B.material)} , ",
        f"a:{b64(A.material)}\nb:{b64(B.material)}\n",
        f"# my keys: x, y\n\na:{b64(A.material)}\r\n  # c:nonsense\nb:{b64(B.material)}",
        f"a:{base64.urlsafe_b64encode(A.material).decode()},b:{base64.urlsafe_b64encode(B.material).decode()}",
    ],
    ids=["commas", "blanks", "lines", "comments", "url-safe"],
)
def test_keys_are_read_in_order(text: str) -> None:
    keys = parse_keys(text, source="PLEXLINK_KEYS")
    assert keys.first() == A
    assert (keys.get("a"), keys.get("b"), keys.get("c")) == (A, B, None)
    assert "a" in keys
    assert "c" not in keys


@unhurried
@given(material=st.binary(min_size=32, max_size=32), is_url_safe=st.booleans())
def test_any_256_bits_are_a_key(material: bytes, *, is_url_safe: bool) -> None:
    encode = base64.urlsafe_b64encode if is_url_safe else base64.b64encode
    assert parse_keys(f"k:{encode(material).decode()}", source="X").first() == Key("k", material)


GOOD = b64(b"\xfb" * 32)


NO_KEYS = ["", " , \n", "# nothing but words", GOOD, "a:", "a:\u00e4", f"a:{GOOD}!", f"a:?{GOOD}"]
NO_IDS = [f":{GOOD}", f"a b:{GOOD}", f"{'a' * 33}:{GOOD}", f"\u00e4:{GOOD}"]
WRONG_LENGTHS = [f"a:{GOOD[:-1]}", f"a:{GOOD[:-4]}", *(f"a:{b64(b'1' * length)}" for length in (16, 31, 33))]
NOT_TWO_KEYS = [f"a:{GOOD},a:{GOOD}", f"a:{GOOD};b:{GOOD}", f"a:{GOOD} b:{GOOD}"]


@pytest.mark.parametrize("text", NO_KEYS + NO_IDS + WRONG_LENGTHS + NOT_TWO_KEYS)
def test_malformed_keys_are_a_setting_error_that_does_not_contain_them(text: str) -> None:
    with pytest.raises(SettingError, match="PLEXLINK_KEYS") as raised:
        parse_keys(text, source="PLEXLINK_KEYS")
    assert GOOD[:16] not in str(raised.value)


# --- the key ring: files ---


def test_new_key_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "plexlink.key"
    before = os.umask(0)
    try:
        created = create_key_file(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = created.first()
    assert len(key.material) == 32
    assert read_key_file(path).first() == key


def test_key_file_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "plexlink.key"
    path.write_text("precious")
    with pytest.raises(FileExistsError):
        create_key_file(path)
    assert path.read_text() == "precious"


def test_dangling_link_in_place_of_the_key_file_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "plexlink.key"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        create_key_file(path)
    assert not (tmp_path / "elsewhere").exists()


def test_each_key_file_holds_another_key_under_another_id(tmp_path: Path) -> None:
    keys = [create_key_file(tmp_path / str(number)).first() for number in range(20)]
    assert len({key.material for key in keys}) == len({key.id for key in keys}) == 20


UNUSABLE = {
    "cannot be read (No such file or directory)": None,
    "holds no key": b"",
    "is not in plain ASCII": f"\ufeffa:{GOOD}".encode(),
    "must list keys": b"nonsense",
    ": the key a must have 32 bytes": b"a:AAAA",
}


@pytest.mark.parametrize("why", UNUSABLE)
def test_key_file_that_cannot_be_used_is_a_setting_error_that_names_it(tmp_path: Path, why: str) -> None:
    path = tmp_path / "plexlink.key"
    content = UNUSABLE[why]
    if content is not None:
        path.write_bytes(content)
    for unusable, found in ((path, why), (tmp_path, "cannot be read (Is a directory)")):
        with pytest.raises(SettingError, match=re.escape(f"{unusable} {found}".replace(" :", ":"))):
            read_key_file(unusable)


# --- nobody sees a secret ---

PLANTED = "planted0secret1planted2secret3!!"
SECRET = Secret(PLANTED)
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KEY = Key("k", PLANTED.encode())
HOLDERS = {
    "Secret": SECRET,
    "Key": KEY,
    "KeyRing": ring(KEY),
    "Answer": Answer(message_id=1, token=SECRET, at=NOW),
    "PlexAnswer": PlexAnswer(200, {"X-Plex-Token": PLANTED}, PLANTED.encode()),
    "Pin": Pin(id=SECRET, code=SECRET, expires_in=timedelta(seconds=900)),
    "Approved": Approved(SECRET),
    "Account": Account(id=SECRET, name=SECRET, is_managed=False),
    "Attempt": Attempt(
        id="id",
        user_id=1,
        guild_id=None,
        device_name="device",
        state=State.APPROVED,
        requested_at=NOW,
        client_identifier=SECRET,
        pin_id=SECRET,
        user_code=SECRET,
        token=SECRET,
        answer=Answer(message_id=1, token=SECRET, at=NOW),
    ),
    "Link": Link(
        id="id",
        user_id=1,
        attempt_id="attempt",
        account_id=SECRET,
        account_name=SECRET,
        client_identifier=SECRET,
        token=SECRET,
        linked_at=NOW,
    ),
    "SignOut": SignOut(id="id", user_id=1, client_identifier=SECRET, token=SECRET, requested_at=NOW),
}
holders = pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)


@holders
def test_no_text_of_a_value_shows_its_secret(holder: object) -> None:
    shown = [repr(holder), str(holder), f"{holder}", f"{holder!r:>80}", "%s %r" % (holder, holder), repr([holder])]  # noqa: UP031
    assert not any("planted" in text for text in shown)


@pytest.mark.parametrize("name", sorted(set(HOLDERS) - {"PlexAnswer"}))
def test_no_pickle_of_a_value_shows_its_secret(name: str) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises((TypeError, pickle.PicklingError)):
            pickle.dumps(HOLDERS[name], protocol)


@pytest.mark.parametrize("spec", ["", "s", ">80", "r", ".3"])
def test_no_format_of_a_secret_shows_it(spec: str) -> None:
    assert format(SECRET, spec) == "Secret(****)"


@pytest.mark.parametrize("leave", [copy.copy, copy.deepcopy, pickle.dumps])
def test_secret_has_no_dictionary_and_is_not_copied_by_machinery(leave: Callable[[object], object]) -> None:
    assert not hasattr(SECRET, "__dict__")
    with pytest.raises(TypeError, match="not pickled"):
        leave(SECRET)


@unhurried
@given(SURROGATES.filter(str.isprintable), st.text(SURROGATES))
def test_secrets_compare_by_value(one: str, other: str) -> None:
    assert (Secret(one) == Secret(other)) == (one == other)
    assert hash(Secret(one)) == hash(Secret(one))
    assert Secret(one) != one


def test_what_the_vault_raises_is_of_the_family() -> None:
    assert issubclass(VaultError, PlexLinkError)
    assert {BrokenEnvelopeError, UnknownKeyError, WrongKeysError} <= set(VaultError.__subclasses__())
