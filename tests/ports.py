"""Ports of loopback."""

from __future__ import annotations

import random
import socket
from contextlib import closing, suppress

_BELOW_EPHEMERAL = range(15_000, 32_000)
"""What systems give to clients by themselves begins higher: a server that is started again finds its port free."""


def free_port() -> int:
    """Return a port that nobody listens on at present, and that no client is given meanwhile."""
    while True:
        port = random.choice(_BELOW_EPHEMERAL)  # noqa: S311 - no secret
        with closing(socket.socket()) as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
