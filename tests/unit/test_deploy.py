"""What `deploy/` and `.env.example` say of the settings, and what the container's own scripts do."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]
from aiohttp import web

from plexlink.settings import open_environment
from plexlink.shards import Shards
from plexlink_bot.settings import BotSettings
from ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
EXAMPLE = ROOT / ".env.example"
LINE = re.compile(r"#?([A-Z_]+)=(.*)")


class Asked:
    """An environment that remembers which variables it was asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def str(self, name: str, default: str | None = None) -> str | None:
        self.names.add(name)
        return "a-token" if name == "DISCORD_TOKEN" else default


def variables() -> set[str]:
    """Return the settings' own list: what they ask the environment for."""
    BotSettings.load(asked := Asked())
    return {name for name in asked.names if name.startswith(("PLEXLINK_", "DISCORD_")) and not name.endswith("_FILE")}


def example() -> dict[str, str]:
    return {found[1]: found[2] for line in EXAMPLE.read_text("utf-8").splitlines() if (found := LINE.fullmatch(line))}


def test_the_example_of_a_dot_env_has_every_setting_and_no_other() -> None:
    assert set(example()) == variables()


def test_the_example_of_a_dot_env_explains_each_setting_in_a_line_above_it() -> None:
    blocks = [block.splitlines() for block in EXAMPLE.read_text("utf-8").split("\n\n")[1:]]
    assert [block for block in blocks if len(block) != 2 or not block[0].startswith("# ")] == []
    assert [LINE.fullmatch(block[1]) for block in blocks].count(None) == 0


@pytest.mark.usefixtures("no_settings")
def test_the_defaults_that_the_example_shows_are_those_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "a-token")
    defaults = BotSettings.load(open_environment())
    lines = "".join(f"{name}={value}\n" for name, value in example().items())
    Path(".env").write_text(lines, "utf-8")
    assert BotSettings.load(open_environment()) == defaults


def test_what_deploy_sets_is_a_setting() -> None:
    files = [path for path in DEPLOY.rglob("*") if path.suffix in {".xml", ".yaml", ".service"}]
    named = {
        name.removesuffix("_FILE")
        for path in files
        for name in re.findall(r"\b(?:PLEXLINK|DISCORD)_[A-Z_]+\b", path.read_text("utf-8"))
    }
    assert "DISCORD_TOKEN" in named
    assert named <= variables()


def test_unraids_template_is_xml_and_hides_the_token() -> None:
    template = ET.parse(DEPLOY / "unraid/plexlink.xml")  # noqa: S314 - our own file
    masked = {entry.get("Target") for entry in template.iter("Config") if entry.get("Mask") == "true"}
    assert masked == {"DISCORD_TOKEN"}


def test_kustomize_is_told_of_every_file() -> None:
    folder = DEPLOY / "kubernetes/base"
    listed = re.findall(r"^  - (\S+\.yaml)$", (folder / "kustomization.yaml").read_text("utf-8"), re.MULTILINE)
    assert listed == sorted(path.name for path in folder.glob("*.yaml") if path.name != "kustomization.yaml")


@pytest.mark.parametrize("name", [".", "postgres"])
def test_each_kustomization_builds_on_what_it_is_not_a_part_of(name: str) -> None:
    root = (DEPLOY / "kubernetes" / name).resolve()
    kustomization = yaml.safe_load((root / "kustomization.yaml").read_text("utf-8"))
    (base,) = [(root / each).resolve() for each in kustomization["resources"]]
    assert base.name == "base"
    assert base not in root.parents, "kustomize calls that a cycle"
    assert [each["name"] for each in kustomization["images"]] == ["plexlink"]


def patched(document: Any, operations: list[dict[str, Any]]) -> Any:
    """Apply a JSON patch, as far as ours go: https://www.rfc-editor.org/rfc/rfc6902."""
    for operation in operations:
        *steps, last = (int(step) if step.isdigit() else step for step in operation["path"].split("/")[1:])
        place = reduce(lambda inner, step: inner[step], steps, document)
        if (operation["op"], last) == ("add", "-"):
            place.append(operation["value"])
        else:
            assert operation["op"] == "replace"
            assert last in place
            place[last] = operation["value"]
    return document


def test_what_the_overlay_with_postgresql_makes_of_the_manifests_is_valid() -> None:
    base = DEPLOY / "kubernetes/base"
    overlay = yaml.safe_load((base / "../postgres/kustomization.yaml").read_text("utf-8"))
    made = {}
    for each in overlay["patches"]:
        kind = each["target"]["kind"]
        document = yaml.safe_load((base / f"{kind.lower()}.yaml").read_text("utf-8"))
        made[kind] = patched(document, yaml.safe_load(each["patch"]))
        kubernetes_validate.validate(made[kind], kubernetes_validate.latest_version(), strict=True)
    stateful_set = made["StatefulSet"]["spec"]
    values = {each["name"]: each.get("value") for each in stateful_set["template"]["spec"]["containers"][0]["env"]}
    names = list(values)
    assert names.index("POD_INDEX") < names.index("PLEXLINK_SHARDS"), "what is named must stand before"
    shards = [Shards.parse(values["PLEXLINK_SHARDS"].replace("$(POD_INDEX)", index)) for index in ("0", "1")]
    assert list(map(str, shards)) == ["0/2", "1/2"]
    assert stateful_set["replicas"] == 2


# --- the entrypoint ---


ALONE = ("unshare", "--user", "--map-root-user")
"""A user namespace that has root and nobody else."""


def can_be_alone() -> bool:
    try:
        return subprocess.run([*ALONE, "true"], check=False, capture_output=True).returncode == 0  # noqa: S603
    except OSError:
        return False


@pytest.mark.skipif(not can_be_alone(), reason="this machine gives no user namespaces")
def test_a_root_who_is_alone_is_told_what_to_do(tmp_path: Path) -> None:
    script = (sys.executable, "-I", str(DEPLOY / "entrypoint.py"))
    ended = subprocess.run(  # noqa: S603
        [*ALONE, *script], env={**os.environ, "PLEXLINK_DATA_DIR": str(tmp_path)}, check=False, capture_output=True
    )
    assert ended.returncode == 78
    (said,) = ended.stderr.decode().splitlines()
    assert said.startswith("plexlink: This container's root cannot become 1000:1000: add the capabilities ")
    assert said.endswith("start it as that user, --user 1000:1000.")


# --- the health check ---


async def health(folder: Path, **environment: str) -> tuple[int | None, str]:
    """Run the check in a folder; return its status, and what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        str(DEPLOY / "healthcheck.py"),
        env=environment,
        cwd=folder,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    return process.returncode, said.decode()


@asynccontextmanager
async def a_page(host: str, port: int, status: int = 200) -> AsyncIterator[list[str]]:
    """Answer on /readyz; give what was asked."""
    asked = []

    async def answers(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, text="gateway keys\n")

    app = web.Application()
    app.router.add_get("/readyz", answers)
    await (runner := web.AppRunner(app)).setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield asked
    finally:
        await runner.cleanup()


async def test_the_container_is_healthy_when_the_bot_is_ready(tmp_path: Path) -> None:
    port = free_port()
    async with a_page("127.0.0.1", port) as asked:
        assert await health(tmp_path, PLEXLINK_WEB_PORT=str(port), http_proxy="http://127.0.0.1:9") == (0, "")
    assert asked == ["/readyz"]


async def test_what_keeps_members_from_linking_is_said_by_the_check(tmp_path: Path) -> None:
    port = free_port()
    async with a_page("127.0.0.1", port, 503):
        assert await health(tmp_path, PLEXLINK_WEB_PORT=str(port)) == (1, "not ready: 503 gateway keys\n")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


IPV6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize(
    ("environment", "files"),
    [
        pytest.param({"HOST": "0.0.0.0"}, {}, id="everywhere"),  # noqa: S104 - where the check has to ask then
        pytest.param({"HOST": "localhost"}, {}, id="localhost"),
        pytest.param({"HOST": "127.0.0.2"}, {}, id="another address"),
        pytest.param({"HOST": "::1"}, {}, id="IPv6", marks=IPV6),
        pytest.param({"HOST": "[::1]"}, {}, id="IPv6 in brackets", marks=IPV6),
        pytest.param({"HOST": "0::0"}, {}, id="everywhere in IPv6", marks=IPV6),
        pytest.param({"HOST": " '127.0.0.2' ", "PORT": '" <port>"'}, {}, id="quotes"),
        pytest.param({"HOST": "", "PORT": "0<port>"}, {}, id="nothing, and a zero"),
        pytest.param({"PORT_FILE": "file", "PORT": "1"}, {"file": "\ufeff'<port>'\n"}, id="a file"),
        pytest.param({"HOST_FILE": "file"}, {"file": "127.0.0.2\n"}, id="a file with the host"),
        pytest.param({}, {".env": "PLEXLINK_WEB_PORT=1\n"}, id="the environment before .env"),
        pytest.param({"PORT": None}, {".env": "PLEXLINK_WEB_PORT='<port>' # ours\n"}, id="from .env"),
        pytest.param(
            {"PORT": None}, {".env": "PLEXLINK_WEB_PORT_FILE=file\n", "file": "<port>"}, id="a file from .env"
        ),
    ],
)
async def test_the_bot_is_asked_where_its_settings_put_the_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str | None], files: dict[str, str]
) -> None:
    port = str(free_port())
    told = {
        f"PLEXLINK_WEB_{name}": value.replace("<port>", port)
        for name, value in {"PORT": "<port>", **environment}.items()
        if value is not None
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text.replace("<port>", port), "utf-8")
    for name, value in {"DISCORD_TOKEN": "a-token", **told}.items():
        monkeypatch.setenv(name, value)
    settings = BotSettings.load(open_environment())
    async with a_page(settings.web_host, settings.web_port) as asked:
        assert await health(tmp_path, **told) == (0, "")
    assert asked == ["/readyz"]


async def test_a_bot_that_answers_nobody_is_not_healthy(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    silent = await health(tmp_path, PLEXLINK_WEB_PORT=str(port))
    server.close()
    await server.wait_closed()
    assert silent[0] == 1
    (tmp_path / "binary").write_bytes(b"\xff")
    for environment in (
        {"PLEXLINK_WEB_PORT": str(port)},
        {"PLEXLINK_WEB_PORT": "nonsense"},
        {"PLEXLINK_WEB_PORT": "70000"},
        {"PLEXLINK_WEB_HOST": "nonsense"},
        {"PLEXLINK_WEB_PORT_FILE": "gone"},
        {"PLEXLINK_WEB_PORT_FILE": "binary"},
    ):
        status, said = await health(tmp_path, **environment)
        assert status == 1
        assert said.startswith("not ready: ")
        assert "Traceback" not in said


@pytest.mark.parametrize("port", ["0", "00", '"0"'])
async def test_a_bot_that_was_told_to_answer_nobody_is_healthy(tmp_path: Path, port: str) -> None:
    assert await health(tmp_path, PLEXLINK_WEB_PORT=port) == (0, "")
