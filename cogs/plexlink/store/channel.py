"""By what processes on one PostgreSQL tell each other something, in SQL: those of one installation, by its schema."""

from __future__ import annotations

NAME = "'plexlink_' || to_hex(hashtext(current_schema()))"
TELL = f"SELECT pg_notify({NAME}, words) FROM unnest(CAST(:words AS text[])) AS words"  # noqa: S608 - a constant
