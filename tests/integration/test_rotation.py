"""`plexlink rotate-keys` and `retire-keys`: all that is sealed is sealed with another key, and the former one goes."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import pytest

from plexlink.errors import DatabaseInUseError, SettingError, WrongKeysError
from plexlink.keys import are_backed_up, open_vault
from plexlink.operator import back_up_keys, check, retire_keys, rotate_keys
from plexlink.secret import Secret
from plexlink.settings import PlexLinkSettings
from plexlink.store import Database, Store
from plexlink.vault import read_key_file
from rows import A, planted, write_everything

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from postgres import Server

B = f"b:{base64.b64encode(bytes(range(32))).decode()}"
OF_A, OF_B = f"a:{A.text.reveal()}", B
ENVELOPES_OF_A = re.compile(rb"plk1:a:[\w-]{40,}")


@pytest.fixture(params=["sqlite", "postgres"])
def keyed(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., PlexLinkSettings]:
    """Return the settings of one database with keys, in their order."""
    if request.param == "postgres":
        server: Server = request.getfixturevalue("postgres")
        url = server.create_database()
    else:
        url = f"sqlite:///{tmp_path}/plexlink.sqlite3"

    def with_keys(*keys: str) -> PlexLinkSettings:
        return PlexLinkSettings(data_dir=tmp_path, database_url=Secret(url), keys=Secret(",".join(keys)))

    return with_keys


def files_in(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


async def fill(settings: PlexLinkSettings) -> None:
    async with Database.open(settings.database_place) as database:
        vault = await open_vault(database, settings)
        async with Store(database=database, vault=vault).transaction() as tx:
            await write_everything(tx)


async def assert_is_whole(settings: PlexLinkSettings) -> None:
    """Expect what `fill` wrote to open and to be found."""
    async with Database.open(settings.database_place) as database:
        vault = await open_vault(database, settings)
        async with Store(database=database, vault=vault).transaction() as tx:
            link = await tx.links.of(42)
            assert link is not None
            assert (link.token, link.trouble) == (planted("token"), None)
            assert await tx.links.holding(link.account_id) == link, "hashes stay what they are"
            assert [attempt.trouble for attempt in await tx.attempts.all_of(42)] == [None]
            plex_server = await tx.servers.plex_server(7)
            assert plex_server is not None
            assert await tx.sign_outs.of(42)
            assert [notice.answer for notice in await tx.notices.of(42)] != [None]


async def test_all_that_is_sealed_opens_with_the_new_key_alone(
    keyed: Callable[..., PlexLinkSettings], tmp_path: Path
) -> None:
    await fill(keyed(OF_A))
    told = list[tuple[int, int]]()
    rotation = await rotate_keys(keyed(OF_B, OF_A), lambda *step: told.append(step))
    assert (rotation.former, rotation.primary, rotation.unreadable) == ("a", "b", 0)
    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1] > 4
    await assert_is_whole(keyed(OF_B))
    assert await retire_keys(keyed(OF_B, OF_A)) == ["a"]
    with pytest.raises(WrongKeysError):
        await check(keyed(OF_A))
    assert not ENVELOPES_OF_A.findall(b"".join(files_in(tmp_path).values())), "it is in no file any more"


async def test_a_key_that_is_not_first_or_not_new_is_not_rotated_to(keyed: Callable[..., PlexLinkSettings]) -> None:
    await fill(keyed(OF_A))
    for keys in ((OF_A,), (OF_A, OF_B)):
        with pytest.raises(SettingError, match="must name a new key first, before the key a"):
            await rotate_keys(keyed(*keys), lambda *_: None)
    await assert_is_whole(keyed(OF_A))


async def test_what_does_not_open_is_counted_and_stays_and_keeps_no_key_in_use(
    keyed: Callable[..., PlexLinkSettings],
) -> None:
    await fill(keyed(OF_A))
    async with Database.open(keyed(OF_A).database_place) as database, database.transaction() as connection:
        await connection.exec_driver_sql("UPDATE plexlink_links SET token_envelope = account_id_envelope")
    rotation = await rotate_keys(keyed(OF_B, OF_A), lambda *_: None)
    assert rotation.unreadable == 1
    assert await retire_keys(keyed(OF_B, OF_A)) == ["a"]
    async with Database.open(keyed(OF_B).database_place) as database, database.transaction() as connection:
        kept = (await connection.exec_driver_sql("SELECT token_envelope FROM plexlink_links")).scalar_one()
    assert kept.startswith("plk1:a:")


async def test_nothing_is_sealed_anew_while_a_bot_runs(tmp_path: Path) -> None:
    settings = PlexLinkSettings(data_dir=tmp_path)
    async with Database.open(settings.database_place) as database:
        await open_vault(database, settings)
        before = settings.key_file.read_bytes()
        with pytest.raises(DatabaseInUseError):
            await rotate_keys(settings, lambda *_: None)
    assert settings.key_file.read_bytes() == before


async def test_the_key_file_has_the_new_key_before_anything_is_sealed_with_it_and_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PlexLinkSettings(data_dir=tmp_path)
    await fill(settings)
    (former,) = read_key_file(settings.key_file)

    async def dies(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Database, "seal_anew", dies)
        with pytest.raises(KeyboardInterrupt):
            await rotate_keys(settings, lambda *_: None)
    new, still = read_key_file(settings.key_file)
    assert still == former
    await assert_is_whole(settings)
    rotation = await rotate_keys(settings, lambda *_: None)
    assert (rotation.former, rotation.primary) == (former.id, new.id)
    assert list(read_key_file(settings.key_file)) == [new, former]
    assert settings.key_file.stat().st_mode & 0o777 == 0o600
    assert not [name for name in files_in(tmp_path) if "draft" in name]
    await assert_is_whole(settings)


async def test_a_key_is_removed_only_when_a_backup_has_it(tmp_path: Path) -> None:
    settings, copy = PlexLinkSettings(data_dir=tmp_path / "data"), tmp_path / "copy"
    settings.make_folder()
    await fill(settings)
    assert await retire_keys(settings) == []
    rotation = await rotate_keys(settings, lambda *_: None)
    with pytest.raises(SettingError, match="plexlink backup-keys first"):
        await retire_keys(settings)
    await back_up_keys(settings, copy)
    assert await retire_keys(settings) == [rotation.former]
    assert [key.id for key in read_key_file(settings.key_file)] == [rotation.primary]
    assert {key.id for key in read_key_file(copy)} == {rotation.former, rotation.primary}
    async with Database.visit(settings.database_place) as database:
        vault = await open_vault(database, settings)
        async with Store(database=database, vault=vault).transaction() as tx:
            assert are_backed_up(settings, await tx.numbers.all()), "the backup holds what is left, and more"
    await assert_is_whole(settings)
