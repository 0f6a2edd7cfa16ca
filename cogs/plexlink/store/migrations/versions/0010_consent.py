"""That a member shows the account's name to owners of servers is signed: no hand without the key consents for them."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Put the signed column in place of the plain one, whose word nobody can vouch for."""
    op.drop_column("plexlink_links", "is_name_shown")
    op.add_column("plexlink_links", sa.Column("consent", sa.String(64)))
