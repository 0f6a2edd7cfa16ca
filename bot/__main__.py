"""`python -m plexlink_bot` is the `plexlink` command."""

from .cli import main

main()
