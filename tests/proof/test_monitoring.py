"""Alerts and dashboard, against a real Prometheus that looks at a real bot."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from plexlink_bot.sandbox.plex_tv import RateLimited, ServerError
from ports import free_port
from processes import PATIENCE_SECONDS, deployment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from processes import Deployment

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="Prometheus is not installed (Debian: apt install prometheus)",
)


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)  # noqa: S603, S607
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_goes_off_when_it_should_and_only_then() -> None:
    promtool("test", "rules", ALERTS.with_name("alerts.test.yaml"))
    promtool("check", "config", ALERTS.with_name("prometheus.yaml"))


def test_each_alert_has_its_page_in_the_runbook() -> None:
    headings = re.findall(r"^### (\w+)$", (DEPLOY / "runbook.md").read_text(encoding="utf-8"), re.MULTILINE)
    text = ALERTS.read_text(encoding="utf-8")
    alerts = re.findall(r"- alert: (\w+)", text)
    assert headings == alerts
    assert re.findall(r"runbook: deploy/runbook\.md#(\w+)", text) == [alert.lower() for alert in alerts]


@asynccontextmanager
async def a_prometheus(folder: Path, bot_port: str) -> AsyncIterator[str]:
    """Run a Prometheus that looks each second, with alerts that wait seconds instead of minutes; give its address."""
    hurried = re.sub(r"\bfor: \d+[md]", "for: 1s", ALERTS.read_text(encoding="utf-8"))
    (folder / "alerts.yaml").write_text(hurried.replace("[10m]", "[10s]"), encoding="utf-8")
    config = ALERTS.with_name("prometheus.yaml").read_text(encoding="utf-8").replace("8080", bot_port)
    timing = "global: { scrape_interval: 1s, evaluation_interval: 1s }\n"
    (folder / "prometheus.yaml").write_text(timing + config, encoding="utf-8")
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={folder}/prometheus.yaml",
        f"--storage.tsdb.path={folder}/prometheus",
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}/api/v1"
    finally:
        process.terminate()
        await process.wait()


async def asked(address: str, query: str) -> list[Any]:
    """Return what a query finds. Raises AssertionError where Prometheus does not take it."""
    async with aiohttp.ClientSession() as session, session.get(f"{address}/query", params={"query": query}) as answer:
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:  # it is still starting
            return []
        found = await answer.json()
    assert found["status"] == "success", (query, found)
    result: list[Any] = found["data"]["result"]
    return result


async def finds(address: str, query: str) -> None:
    """Wait until a query finds something."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(aiohttp.ClientConnectionError):  # not even that
                if await asked(address, query):
                    return
            await asyncio.sleep(0.2)


def queries() -> list[str]:
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text(encoding="utf-8"))
    return [target["expr"].replace("$instance", ".*") for panel in dashboard["panels"] for target in panel["targets"]]


async def link(place: Deployment) -> None:
    await place.plexlink()
    await place.card_saying("Your code:")
    place.plex.approve(place.pin().code)
    await place.card_saying("Linked as alice")


async def test_the_dashboard_is_answered_and_a_plex_that_is_silent_or_wants_a_pause_goes_off(tmp_path: Path) -> None:
    async with deployment(tmp_path) as place:
        port = place.environment["PLEXLINK_WEB_PORT"] = str(free_port())
        await place.start()
        async with a_prometheus(tmp_path, port) as address:
            await finds(address, "plexlink_ready == 1")
            await link(place)
            await finds(address, 'plexlink_attempts_total{end="linked"} == 1')
            for query in queries():
                await finds(address, query)
            await finds(address, 'ALERTS{alertname="PlexLinkKeysAreNotBackedUp", alertstate="firing"}')
            command = await place.spawn(arguments=("-m", "plexlink_bot", "backup-keys", f"{tmp_path}/backed-up.key"))
            assert await command.wait() == 0
            await finds(address, "plexlink_keys_backed_up == 1")
            await finds(address, "absent(ALERTS)")

            place.plex.fail(ServerError(503), times=None)
            await place.plexlink(place.join("bob"))
            await finds(address, 'ALERTS{alertname="PlexLinkGetsNoAnswer", alertstate="firing"}')
            place.plex.heal()
            place.plex.fail(RateLimited(retry_after=3600), times=1)
            await finds(address, 'ALERTS{alertname="PlexLinkIsSlowedDown", alertstate="firing"}')
            await place.end()
            await finds(address, 'ALERTS{alertname="PlexLinkIsDown", alertstate="firing"}')
