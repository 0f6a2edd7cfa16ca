"""The image of `deploy/Dockerfile`, built and run without Docker and without a registry.

The base is made of Debian's packages, buildah builds the very Dockerfile on it, and the program is started in the
image's root file system with what `docker run --read-only --cap-drop ALL` would give it, as far as `unshare`, `chroot`
and `setpriv` go: its own mounts, user, capabilities and environment, but the machine's processes and network.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
BASE = "localhost/plexlink-base:bookworm"
IMAGE = "localhost/plexlink:test"
CERTIFICATES = "/etc/ssl/certs"
TOOLS = ("buildah", "mmdebstrap", "setpriv", "unshare")
ROOTS_CAPABILITIES = "+chown,+dac_override,+fowner,+setgid,+setuid"
"""What compose.yaml and Unraid's template give back to a container that starts as root."""

RUN = """
root=$1 volume=$2 secrets=$3 options=$4; shift 4
mount --bind "$root" "$root"
mount --bind "$volume" "$root/data"
mount --bind "$secrets" "$root/run"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -o "remount,bind,$options" "$root/data"
mount -o remount,bind,ro "$root/run"
mount -o remount,bind,ro "$root"
exec chroot "$root" "$@"
"""


def is_able() -> bool:
    """Tell whether this machine and user can build an image and run it."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not all(map(shutil.which, TOOLS)):
        return False
    return subprocess.run(("unshare", "--mount", "true"), check=False, capture_output=True).returncode == 0  # noqa: S607 - whichever is there


needs_buildah = pytest.mark.skipif(
    not is_able(),
    reason="the image was left out: it is built by root with Debian's packages (apt install buildah mmdebstrap)",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A root file system, and what its container shall be like."""

    rootfs: Path
    config: dict[str, Any]

    def starts(
        self,
        volume: Path,
        *command: str,
        user: str = "",
        roots: str = ROOTS_CAPABILITIES,
        secrets: Path | None = None,
        is_read_only: bool = False,
    ) -> tuple[str, ...]:
        """Return arguments for a Python that becomes the container's process.

        `user` is what `docker run --user` takes, in numbers, `roots` what is given back to that user if it is root;
        `command` goes in the place of the image's own.
        """
        program = (*self.config["Entrypoint"], *(command or self.config["Cmd"]))
        return self._starts(program, volume, user=user, roots=roots, secrets=secrets, is_read_only=is_read_only)

    def starts_check(self, volume: Path) -> tuple[str, ...]:
        """Return arguments for a Python that becomes the image's health check."""
        how, *check = self.config["Healthcheck"]["Test"]
        assert how == "CMD"
        return self._starts(check, volume)

    def _starts(
        self,
        program: Sequence[str],
        volume: Path,
        *,
        user: str = "",
        roots: str = ROOTS_CAPABILITIES,
        secrets: Path | None = None,
        is_read_only: bool = False,
    ) -> tuple[str, ...]:
        uid, _, gid = (user or str(self.config["User"])).partition(":")
        returned = roots if uid == "0" else ""
        return (
            "-c",
            "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])",
            *("unshare", "--mount", "--propagation", "private", "sh", "-euc", RUN, "sh"),
            *(str(self.rootfs), str(volume), str(secrets or self.nothing), "ro" if is_read_only else "rw"),
            *("setpriv", "--reuid", uid, "--regid", gid or "0", "--clear-groups", "--no-new-privs"),
            *("--inh-caps=-all", f"--bounding-set=-all,{returned}".rstrip(","), "env", "-C", self.config["WorkingDir"]),
            *program,
        )

    @property
    def nothing(self) -> Path:
        """An empty folder."""
        (folder := self.rootfs.with_name("nothing")).mkdir(exist_ok=True)
        return folder

    @property
    def environment(self) -> dict[str, str]:
        """What the image sets, and what Docker sets for a user without a home."""
        return {"HOME": "/", **dict(entry.split("=", 1) for entry in self.config["Env"])}


def fresh_volume(folder: Path, image: Image) -> Path:
    """Make a volume as Docker makes one: with owner and rights of the folder in the image."""
    folder.mkdir()
    like = (image.rootfs / "data").stat()
    os.chown(folder, like.st_uid, like.st_gid)
    folder.chmod(like.st_mode)
    return folder


def build(folder: Path) -> Image:
    """Build the image, once for all processes that ask for it with the same folder."""
    rootfs, config = folder / "rootfs", folder / "config.json"
    with FileLock(folder.with_suffix(".lock")):
        if not config.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            found = _build(folder, rootfs)
            config.write_text(json.dumps(found))
    return Image(rootfs=rootfs, config=json.loads(config.read_text()))


def _build(folder: Path, rootfs: Path) -> dict[str, Any]:
    store = folder / "store"
    base, pip = folder / "base.tar", folder / "pip.conf"
    # Whoever's network has a certificate of its own has told the system of it, but not the image.
    pip.write_text(f"[global]\ncert = {CERTIFICATES}/ca-certificates.crt\n")

    def run(*arguments: str | Path) -> str:
        done = subprocess.run(arguments, cwd=ROOT, check=False, capture_output=True, text=True)  # noqa: S603
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def buildah(*arguments: str | Path) -> str:
        places = ("--root", store / "root", "--runroot", store / "run", "--storage-driver", "vfs")
        return run("buildah", *places, *arguments)

    run("mmdebstrap", "--variant=minbase", "--include=python3,python3-venv,ca-certificates", "bookworm", base)
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, base, "/")
    buildah("config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
    buildah("commit", "--quiet", "--rm", container, BASE)
    base.unlink()
    mounts = ("--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro", "--volume", f"{pip}:/etc/pip.conf:ro")
    made = ("--file", "deploy/Dockerfile", "--build-arg", f"BASE={BASE}", "--tag", IMAGE)
    buildah("bud", "--isolation", "chroot", "--format", "docker", *mounts, *made, ".")
    found = json.loads(buildah("inspect", "--type", "image", IMAGE))
    container = buildah("from", IMAGE)
    shutil.move(buildah("mount", container), rootfs)
    shutil.rmtree(store)
    return found["Docker"]["config"]
