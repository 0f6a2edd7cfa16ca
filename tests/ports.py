"""Ports of loopback."""

from __future__ import annotations

import socket
from contextlib import closing


def free_port() -> int:
    """Return a port that nobody listens on at present."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
