"""Ask the bot in this container whether it is ready: status 0 if so, or if it was told not to be asked.

The two settings are read as the bot reads them, but not by its own code: that brings Discord's library and the
database's, for 0.6 seconds and 84 MB every half minute.
"""

import http.client
import sys
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path

from environs import FileAwareEnv

LOOPBACK = {4: "127.0.0.1", 6: "::1"}
PATIENCE_SECONDS = 8.0
LONGEST_ANSWER = 200


def main() -> None:
    """Ask, unless the pages are off."""
    try:
        env = _environment()
        port = int(_setting(env, "PLEXLINK_WEB_PORT", "8080"))
        if port == 0:
            return
        status, said = _ask(_place(_setting(env, "PLEXLINK_WEB_HOST", LOOPBACK[4])), port)
    except (OSError, ValueError, OverflowError, http.client.HTTPException) as error:
        sys.exit(f"not ready: {error}")
    if status != HTTPStatus.OK:
        sys.exit(f"not ready: {status} {said}")


def _environment() -> FileAwareEnv:
    env, file = FileAwareEnv(strip_whitespace=True), Path(".env")
    if file.is_file():
        env.read_env(file, recurse=False)
    return env


def _setting(env: FileAwareEnv, name: str, default: str) -> str:
    text = (env.str(name, None) or "").strip().removeprefix("\ufeff").strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    return text or default


def _place(host: str) -> str:
    """Return where a bot is asked that listens there: one that listens everywhere, on loopback."""
    address = ip_address(LOOPBACK[4] if host == "localhost" else host.strip("[]"))
    return LOOPBACK[address.version] if address.is_unspecified else str(address)


def _ask(host: str, port: int) -> tuple[int, str]:
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_SECONDS)
    connection.request("GET", "/readyz")
    answer = connection.getresponse()
    return answer.status, answer.read(LONGEST_ANSWER).decode(errors="replace").strip()


main()
