"""Files appear whole, and never in another one's place, also where the file system has no hard links."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from plexlink.files import put_in_place
from plexlink.vault import create_key_file, read_key_file

if TYPE_CHECKING:
    from pathlib import Path


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
