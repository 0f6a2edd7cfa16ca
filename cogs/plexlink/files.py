"""Files that are there whole or not at all, and never in another one's place."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

OWNER_ONLY = 0o600


def put_in_place(draft: Path, path: Path) -> None:
    """Give a finished draft its name; it may keep its old one as well.

    Raises:
        FileExistsError: something has that name.
        OSError: the system does not let us.

    """
    try:
        os.link(draft, path)  # unlike a rename, never replaces what is there already
    except FileExistsError:
        raise
    except OSError:
        # FAT, many network shares: no hard links. Our own empty file keeps the name until the draft takes it.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY))
        try:
            draft.replace(path)
        except OSError:
            path.unlink()
            raise
