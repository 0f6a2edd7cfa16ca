"""Whose the Plex server is that a role is for: its identifier is a text that anybody can give to a server of theirs."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column."""
    op.add_column("plexlink_guilds", sa.Column("plex_server_owner", sa.String(64)))
