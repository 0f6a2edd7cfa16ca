"""The `plexlink` command, also as `python -m plexlink_bot`; it says what is missing before it imports much."""

import sys

_CONFIGURATION = 78
_INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    try:
        from .cli import main as run  # noqa: PLC0415 - what it needs may not be there, and takes its time
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        sys.stderr.write("plexlink: the command needs more packages: pip install 'plexlink[bot]'\n")
        sys.exit(_CONFIGURATION)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
