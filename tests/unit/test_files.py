"""Files appear whole, and never in another one's place, also where the file system has no hard links."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from plexlink.files import is_open_to_others, put_in_place
from plexlink.vault import create_key_file, read_key_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

unix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")


@pytest.fixture(params=[None, errno.EPERM, errno.EOPNOTSUPP, errno.EIO], ids=["links", "EPERM", "EOPNOTSUPP", "EIO"])
def folder(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    if request.param:
        monkeypatch.setattr(os, "link", refuse)
    return tmp_path


def test_a_key_file_is_written_readable_by_its_owner_alone_and_leaves_no_draft(folder: Path) -> None:
    path = folder / "plexlink.key"
    ring = create_key_file(path)
    assert [key.id for key in read_key_file(path)] == [key.id for key in ring]
    assert [file.name for file in folder.iterdir()] == ["plexlink.key"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_already_stays(folder: Path) -> None:
    path, draft = folder / "plexlink.key", folder / "draft"
    path.write_text("mine")
    draft.write_text("another")
    with pytest.raises(FileExistsError):
        put_in_place(draft, path)
    assert (path.read_text(), draft.read_text()) == ("mine", "another")


def make_file(path: Path) -> None:
    path.write_text("a secret")


OURS = {mode: mode in {0o640, 0o604, 0o620, 0o666} for mode in (0o600, 0o400, 0o700, 0o711, 0o640, 0o604, 0o620, 0o666)}


@unix_only
@pytest.mark.parametrize("make", [make_file, lambda path: path.mkdir()], ids=["file", "folder"])
@pytest.mark.parametrize("mode", OURS, ids=oct)
def test_what_others_may_read_or_change_is_open_to_them(
    tmp_path: Path, make: Callable[[Path], None], mode: int
) -> None:
    make(path := tmp_path / "it")
    path.chmod(mode)
    assert is_open_to_others(path) is OURS[mode]
    (link := tmp_path / "link").symlink_to(path)
    assert is_open_to_others(link) is OURS[mode]


@unix_only
def test_of_what_is_another_users_only_a_file_that_everybody_may_read_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_file(path := tmp_path / "file")
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    for mode, is_open in {0o600: False, 0o640: False, 0o644: True}.items():
        path.chmod(mode)
        assert is_open_to_others(path) is is_open
    tmp_path.chmod(0o777)
    assert not is_open_to_others(tmp_path)


@unix_only
def test_what_nobody_can_mend_or_look_at_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_open_to_others(tmp_path / "missing")
    make_file(path := tmp_path / "file")
    path.chmod(0o644)
    assert is_open_to_others(path)
    fields = list(os.statvfs(path))
    fields[8] |= os.ST_RDONLY
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(fields))
    assert not is_open_to_others(path)
