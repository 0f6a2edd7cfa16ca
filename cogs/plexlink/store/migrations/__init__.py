"""The schema's history, applied with Alembic.

Alembic's usual `env.py` cannot import relatively, so the environment is driven from here. Alembic is imported only
when there is something to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect, text

from ...errors import StoreError
from .. import tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import Connection

HEAD = "0012"
VERSION_TABLE = "plexlink_version"


def migrate(connection: Connection, before: Callable[[str], None]) -> str | None:
    """Bring the schema to `HEAD`, inside the caller's transaction; return the version that it had.

    A new database has none. Before an older schema is touched, `before` is called with its version.

    Raises:
        StoreError: a newer PlexLink wrote this database.

    """
    found = _version(connection)
    if found != HEAD:
        _upgrade(connection, before)
    return found


def is_current(connection: Connection) -> bool:
    """Tell whether the schema is at `HEAD`."""
    return _version(connection) == HEAD


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant


def _upgrade(connection: Connection, before: Callable[[str], None]) -> None:
    from alembic.config import Config  # noqa: PLC0415 - 60 ms that a start without news does not pay
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)

    def steps(revision: Any, _context: MigrationContext) -> Any:  # noqa: ANN401 - Alembic's own types are private
        ahead = script._upgrade_revs(HEAD, revision)  # noqa: SLF001 - what alembic.command.upgrade itself calls
        for version in revision:
            before(version)
        return ahead

    with EnvironmentContext(config, script, fn=steps, destination_rev=HEAD) as environment:
        environment.configure(connection=connection, target_metadata=tables.metadata, version_table=VERSION_TABLE)
        try:
            environment.run_migrations()
        except CommandError:
            raise StoreError("A newer PlexLink wrote this database; install that release or a later one.") from None
