"""The `plexlink` command."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import webbrowser
from contextlib import contextmanager
from datetime import timedelta
from importlib.metadata import version
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

app = typer.Typer(
    help="Connect Plex accounts to Discord members.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # in a log, a traceback is plain text
)

_WELCOME = """
The PlexLink sandbox is running. Nothing in it is real, and nothing leaves this machine.

  Discord   {discord}
            your conversation with the bot: type /plexlink
  owner     {owner}
            a channel of the server, as its owner or as you: type /plexadmin setup
  log       {log}
            its channel #plex-log, which the owner can choose for the audit
  plex.tv   {plex}
            where you approve; the card's "Open Plex" leads there
  control   {control}
            make things go wrong, let days pass, look into the database

  database  {folder}

Whoever knows these addresses can press the buttons. Ctrl-C ends the sandbox.
"""


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - Typer's callback signature
    if wanted:
        typer.echo(f"plexlink {version('plexlink')}")
        raise typer.Exit


@contextmanager
def _refusal_said() -> Iterator[None]:
    """Say in one sentence what needs mending, and end with the status for that."""
    from plexlink.errors import PlexLinkError  # noqa: PLC0415 - so that --help need not wait

    try:
        yield
    except (PlexLinkError, FileNotFoundError) as error:
        from .app import Exit  # noqa: PLC0415 - the same

        if isinstance(error, PlexLinkError):
            typer.echo(f"plexlink: {error}", err=True)
        elif _stands_nowhere():
            typer.echo("plexlink: The folder that this was started in is gone; start it in another one.", err=True)
        else:
            raise
        raise typer.Exit(Exit.CONFIGURATION) from None


def _stands_nowhere() -> bool:
    """Tell whether the folder was removed from which relative paths go."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _named(text: str) -> Path:
    """Read a path; an empty one, as of a variable that is not set, is none."""
    if not text:
        raise typer.BadParameter("it is empty")
    return Path(text)


def _target(text: str) -> Path:
    """Read a path; one that ends like a folder's is that of a folder, which is there."""
    if text.endswith("/") and not Path(text).is_dir():
        raise typer.BadParameter("there is no such folder; is what you mean mounted?")
    return _named(text)


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

    Exit status: 0 after a stop; 69 when Discord or the database could not be used for ten minutes, another bot runs on it, or Discord closed the connection; 78 when a setting, the keys or the database need mending.
    """  # noqa: E501 - the terminal wraps it
    # Imported here, so that --help need not wait for discord.py.
    from plexlink.settings import open_environment  # noqa: PLC0415

    from . import app as process  # noqa: PLC0415
    from . import logs  # noqa: PLC0415
    from .settings import BotSettings, forget_secrets  # noqa: PLC0415

    logs.guard(logs.KnownSecrets())
    with _refusal_said():
        settings = BotSettings.load(open_environment())
        forget_secrets(os.environ)
        logs.set_up(log_format=settings.log_format, level=settings.log_level)
        status = process.serve(settings)
    raise typer.Exit(status)


@app.command()
def confirm_dead() -> None:
    """Believe plex.tv's refusals that the bot holds back.

    When plex.tv refuses many tokens within an hour, the bot suspects plex.tv and tells nobody. If you know that the sign-ins really ended, say so here: for a day refusals are believed, and a running bot tells their owners within a few minutes.
    """  # noqa: E501 - the terminal wraps it
    from plexlink.operator import believe_refusals  # noqa: PLC0415 - so that --help need not wait
    from plexlink.settings import PlexLinkSettings, open_environment  # noqa: PLC0415

    with _refusal_said():
        count = asyncio.run(believe_refusals(PlexLinkSettings.load(open_environment())))
    typer.echo(f"{count} refusals are believed now." if count else "Nothing is held back.")


@app.command()
def processes() -> None:
    """Show the processes that run on the same PostgreSQL, their shards, and which of them works.

    All of them answer members; the one that works asks plex.tv and draws the cards. Another one takes that over when it stops, or has not been heard of for 12 seconds.
    """  # noqa: E501 - the terminal wraps it
    from plexlink.operator import processes as present  # noqa: PLC0415 - so that --help need not wait
    from plexlink.settings import PlexLinkSettings, open_environment  # noqa: PLC0415

    with _refusal_said():
        found = asyncio.run(present(PlexLinkSettings.load(open_environment())))
    if found is None:
        typer.echo("The database is a file, which one process uses; several need a PostgreSQL.")
        return
    for each in found:
        up = timedelta(seconds=int(each.up_seconds))
        typer.echo(
            f"{each.host}  shards {each.shards}  version {each.version}  up {up}{'  works' if each.works else ''}"
        )
    if not found:
        typer.echo("No process is there.")


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(parser=_named, metavar="FOLDER", help="It is made if it is missing.")],
    keep: Annotated[
        int | None, typer.Option(min=1, help="Leave so many backups there, the newest; without it, all.")
    ] = None,
) -> None:
    """Copy the SQLite database into a folder, while the bot runs.

    The copy is called plexlink-20261130T021301Z.sqlite3, by its time in UTC, is its owner's alone, and checked. The keys are not in it: see backup-keys.
    """  # noqa: E501 - the terminal wraps it
    from plexlink.operator import back_up  # noqa: PLC0415 - so that --help need not wait
    from plexlink.settings import PlexLinkSettings, open_environment  # noqa: PLC0415

    with _refusal_said():
        copy = back_up(PlexLinkSettings.load(open_environment()), folder, keep=keep)
    typer.echo(f"The database was copied to {copy} ({ceil(copy.stat().st_size / 1000)} kB).")


@app.command()
def backup_keys(
    to: Annotated[
        Path,
        typer.Argument(parser=_target, metavar="TO", help="A new file, a folder, or - for the standard output."),
    ],
) -> None:
    """Copy the key file, without which nobody can read what the database holds.

    It is seen before that these keys open the database, and noted there that they are backed up, which ends the alert PlexLinkKeysAreNotBackedUp. Keep the copy where no backup of the database is.
    """  # noqa: E501 - the terminal wraps it
    from plexlink.operator import back_up_keys  # noqa: PLC0415 - so that --help need not wait
    from plexlink.settings import PlexLinkSettings, open_environment  # noqa: PLC0415

    with _refusal_said():
        copy = asyncio.run(
            back_up_keys(PlexLinkSettings.load(open_environment()), sys.stdout if str(to) == "-" else to)
        )
    typer.echo(f"The keys are in {copy or 'what was printed'}; keep it apart from the database.", err=copy is None)


@app.command()
def rotate_keys() -> None:
    """Seal all that is stored with a new key, with the bot stopped.

    The key file gets the new key, and keeps the former one, which backups of before need. Where you set PLEXLINK_KEYS, name the new key first there, before the others. Whatever ends this on its way loses nothing: type it again.
    """  # noqa: E501 - the terminal wraps it
    from plexlink.operator import rotate_keys as rotate  # noqa: PLC0415 - so that --help need not wait
    from plexlink.settings import PlexLinkSettings, open_environment  # noqa: PLC0415

    with _refusal_said(), _progress("Sealing") as step:
        settings = PlexLinkSettings.load(open_environment())
        rotation = asyncio.run(rotate(settings, step))
    typer.echo(f"Everything is sealed with the key {rotation.primary} now.")
    if rotation.unreadable:
        typer.echo(f"{rotation.unreadable} values did not open with any key, and stay as they were.")
    if settings.keys is None:
        typer.echo(
            "Back the key file up (plexlink backup-keys), and start the bot. The former key "
            f"{rotation.former} is still in it, for backups of before: plexlink retire-keys removes it."
        )
    else:
        typer.echo(f"Start the bot; the key {rotation.former} can go from PLEXLINK_KEYS. Backups of before need it.")


@app.command()
def retire_keys() -> None:
    """Remove the keys from the key file that open nothing in the database any more.

    Backups of before a rotation need them: the key file must have been backed up since. Of PLEXLINK_KEYS the command says which ones you can remove. The bot may run.
    """  # noqa: E501 - the terminal wraps it
    from plexlink.operator import retire_keys as retire  # noqa: PLC0415 - so that --help need not wait
    from plexlink.settings import PlexLinkSettings, open_environment  # noqa: PLC0415

    with _refusal_said():
        settings = PlexLinkSettings.load(open_environment())
        retired = asyncio.run(retire(settings))
    names = ", ".join(retired)
    if not retired:
        typer.echo("Every key opens something: nothing was removed.")
    elif settings.keys is None:
        typer.echo(f"Removed from the key file: {names}.")
    else:
        typer.echo(f"These open nothing any more; remove them from PLEXLINK_KEYS: {names}.")


@app.command()
def move(
    to: Annotated[
        str,
        typer.Option(
            envvar="PLEXLINK_MOVE_TO",
            help="Where to: sqlite:////path/to/file.sqlite3 or postgresql://user:password@host/database.",
        ),
    ],
) -> None:
    """Move all that is stored into another, empty database, with the bot stopped.

    All of it is written or nothing, and compared; the database it comes from stays as it was. Then set PLEXLINK_DATABASE_URL to the new one. The keys stay what they are.
    """  # noqa: E501 - the terminal wraps it
    from plexlink.operator import move as move_all  # noqa: PLC0415 - so that --help need not wait
    from plexlink.settings import PlexLinkSettings, open_environment  # noqa: PLC0415

    with _refusal_said(), _progress("Moving") as step:
        count = asyncio.run(move_all(PlexLinkSettings.load(open_environment()), to, step))
    typer.echo(f"{count} rows are there now, the same as here. Set PLEXLINK_DATABASE_URL to it, and start the bot.")


@app.command()
def sandbox(
    *,
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep the database here; without it, everything is forgotten at the end.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65531, help="Port of the first page; the others follow. 0 takes free ones.")
    ] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the conversation in a browser.")] = True,
) -> None:
    """Try the bot in a browser: no account is needed, and nothing leaves this machine.

    The bot, its commands and its database are real; Discord and plex.tv are played by this program.
    """
    # Imported here, so that --help need not wait for them.
    from . import app as process  # noqa: PLC0415
    from . import logs  # noqa: PLC0415

    if find_spec("simcord") is None:
        typer.echo("plexlink: the sandbox needs more packages: pip install 'plexlink[bot,sandbox]'", err=True)
        raise typer.Exit(process.Exit.CONFIGURATION)
    from .sandbox import app as sandbox_process  # noqa: PLC0415

    logs.set_up(log_format="console", level=logging.ERROR)

    def welcome(addresses: Mapping[str, str]) -> None:
        typer.echo(_WELCOME.format_map({**addresses, "folder": data_dir or "forgotten at the end; see --data-dir"}))
        logging.getLogger("plexlink").setLevel(logging.INFO)
        if browser and _has_screen():
            # Some browsers come back only when their window is closed.
            threading.Thread(target=webbrowser.open, args=(addresses["once"],), daemon=True).start()

    with _refusal_said():
        sandbox_process.serve(data_dir and data_dir.absolute(), port=port, started=welcome)
    typer.echo("The sandbox has ended.")


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar, and give what is told how far it is, and how long in all."""
    with typer.progressbar(length=1, label=label) as bar:

        def step(so_far: int, total: int) -> None:
            bar.length = max(1, total)
            bar.update(so_far - bar.pos)

        yield step


def _has_screen() -> bool:
    """Tell whether a browser would open a window, and not take over the terminal."""
    return sys.platform in {"darwin", "win32"} or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def main() -> None:
    """Run the command line."""
    if os.getpid() == 1:
        # The first process of a container is sent only what it handles; the bot does so when it runs, a second later.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    app()
