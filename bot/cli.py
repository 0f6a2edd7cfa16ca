"""The `plexlink` command."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

app = typer.Typer(
    help="Connect Plex accounts to Discord members.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # in a log, a traceback is plain text
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - Typer's callback signature
    if wanted:
        typer.echo(f"plexlink {version('plexlink')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def run() -> None:
    """Run the bot until it is stopped.

    Settings are environment variables, or lines of a .env file in this folder; only DISCORD_TOKEN is required.

    Exit status: 0 after a stop; 69 when Discord could not be reached for ten minutes; 78 when a setting, the keys or the database need mending.
    """  # noqa: E501 - the terminal wraps it
    # Imported here, so that --help need not wait for discord.py.
    from plexlink.errors import PlexLinkError  # noqa: PLC0415
    from plexlink.settings import open_environment  # noqa: PLC0415

    from . import app as process  # noqa: PLC0415
    from . import logs  # noqa: PLC0415
    from .settings import BotSettings  # noqa: PLC0415

    try:
        settings = BotSettings.load(open_environment())
        logs.set_up(log_format=settings.log_format, level=settings.log_level)
        status = process.serve(settings)
    except PlexLinkError as error:
        typer.echo(f"plexlink: {error}", err=True)
        raise typer.Exit(process.Exit.CONFIGURATION) from None
    raise typer.Exit(status)


def main() -> None:
    """Run the command line."""
    app()
