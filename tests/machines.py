"""A machine of its own for a process: it has a network of its own, and can vanish from it without a word.

Nothing tells the others: no connection is closed, packets are dropped. Network namespaces of Linux, made as root with
the programs `ip` and `iptables`.
"""

from __future__ import annotations

import secrets
import subprocess
from contextlib import contextmanager
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Machine:
    """One machine: `within` runs a program on it, `host` is where it finds the machine of the test."""

    def __init__(self, name: str, host: str) -> None:
        self.host = host
        self.within: Sequence[str] = ("ip", "netns", "exec", name)

    def vanish(self) -> None:
        """Let nothing come to it any more, and nothing leave it."""
        self._filter("-P", "INPUT", "DROP")
        self._filter("-P", "OUTPUT", "DROP")

    def come_back(self) -> None:
        """Let it be on the network again, with all that runs on it."""
        self._filter("-P", "INPUT", "ACCEPT")
        self._filter("-P", "OUTPUT", "ACCEPT")

    def _filter(self, *rule: str) -> None:
        _run(*self.within, "iptables", *rule)


@contextmanager
def a_machine() -> Iterator[Machine]:
    """Give a machine with nothing on it."""
    number = secrets.randbelow(2**15)
    name, cable = f"plexlink-{number}", f"plexlink{number}"
    first = ip_address("198.18.0.0") + 4 * number  # in the block that is meant for tests between networks (RFC 2544)
    host, own = str(first + 1), str(first + 2)
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "address", "add", f"{host}/30", "dev", cable)
        _run("ip", "link", "set", cable, "up")
        _run("ip", "-n", name, "address", "add", f"{own}/30", "dev", "eth0")
        _run("ip", "-n", name, "link", "set", "eth0", "up")
        _run("ip", "-n", name, "link", "set", "lo", "up")
        yield Machine(name, host)
    finally:
        _run("ip", "netns", "delete", name)


@cache
def can_be() -> bool:
    """Tell whether this system lets us make some."""
    try:
        with a_machine() as machine:
            machine.vanish()
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own words
