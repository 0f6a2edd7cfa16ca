"""Start PlexLink in its container: as a user who can write the volume, or not at all.

Started as root, it becomes the user `PUID` of the group `PGID`, after making the volume theirs.
"""

import contextlib
import os
import stat
import sys

PROGRAM = "/opt/plexlink/bin/plexlink"
NOBODY_SPECIAL = "1000"
CAPABILITIES = "CHOWN, DAC_OVERRIDE, FOWNER, SETGID and SETUID"
CONFIGURATION = 78  # sysexits: starting again does not help


def main() -> None:
    """Become the user, look at the volume, and become the program."""
    data = os.environ["PLEXLINK_DATA_DIR"]
    if os.geteuid() == 0:
        _become(_id("PUID"), _id("PGID"), data)
    elif os.environ.get("PUID") not in {None, "", str(os.geteuid())}:
        _refuse('PUID is heeded where the container starts as root: add --user 0 (compose: `user: "0"`).')
    database = os.path.join(data, "plexlink.sqlite3")  # noqa: PTH118 - pathlib is slow to import
    mine = f"{os.geteuid()}:{os.getegid()}"
    for path in (data, database):
        if os.path.exists(path) and not os.access(path, os.W_OK | os.R_OK):  # noqa: PTH110 - as above
            _refuse(
                f"User {mine} cannot write {path}: on the host, let `chown -R {mine}` make the volume that user's, "
                "or start with --user 0 and set PUID and PGID to the owner's."
            )
    os.execv(PROGRAM, [PROGRAM, *sys.argv[1:]])  # noqa: S606 - no shell is wanted


def _id(name: str) -> int:
    text = os.environ.get(name) or NOBODY_SPECIAL
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**32 - 1):
        _refuse(f"{name} must be a number above 0: what `id` prints for the user to whom the data shall belong.")
    return int(text)


def _become(user: int, group: int, data: str) -> None:
    with contextlib.suppress(OSError):  # of what cannot be given away, some can be written all the same
        if not os.path.islink(data) and os.stat(data).st_uid == 0:  # noqa: PTH114, PTH116 - as above
            os.chmod(data, stat.S_IRWXU)  # noqa: PTH101 - as above
        _give(data, user, group)
        for _, folders, files, place in os.fwalk(data):
            for name in folders + files:
                _give(name, user, group, place)
    try:
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    except OSError:  # without capabilities; in a namespace of users that has no such user
        _refuse(
            f"This container's root cannot become {user}:{group}: add the capabilities {CAPABILITIES} (docker run "
            f"--cap-add, compose: cap_add), or in place of root and PUID start it as that user, --user {user}:{group}."
        )


def _give(name: str, user: int, group: int, place: "int | None" = None) -> None:
    with contextlib.suppress(OSError):
        os.chown(name, user, group, dir_fd=place, follow_symlinks=False)


def _refuse(sentence: str) -> None:
    sys.stderr.write(f"plexlink: {sentence}\n")
    sys.exit(CONFIGURATION)


main()
