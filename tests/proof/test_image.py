"""The container's image: built from `deploy/Dockerfile`, and run as people run it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from container import ROOTS_CAPABILITIES, Image, build, fresh_volume, needs_buildah
from first_release import KEYS, plant
from processes import Deployment, code_of, deployment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from processes import BotProcess

pytestmark = [needs_buildah, pytest.mark.timeout(1800)]  # the first test builds the image

CONFIGURATION = 78


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Image:
    base = tmp_path_factory.getbasetemp()
    return build((base if worker_id == "master" else base.parent) / "image")


@pytest.fixture
async def place(tmp_path: Path, image: Image) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path, **image.environment) as place:
        fresh_volume(place.data_dir, image)
        yield place


def identity(bot: BotProcess) -> dict[str, list[str]]:
    """Return what the system says of a process: user, group, groups, capabilities."""
    lines = Path(f"/proc/{bot.pid}/status").read_text().splitlines()
    return {name: values.split() for name, _, values in (line.partition(":") for line in lines)}


def mounts(bot: BotProcess) -> dict[str, str]:
    """Return whether each mount that a process sees can be written, by its place."""
    lines = Path(f"/proc/{bot.pid}/mountinfo").read_text().splitlines()
    return {place: options[:2] for _, _, _, _, place, options, *_ in map(str.split, lines)}


def owners(folder: Path) -> set[tuple[int, int]]:
    return {(found.st_uid, found.st_gid) for found in (path.lstat() for path in [folder, *folder.rglob("*")])}


async def refusal(place: Deployment, arguments: tuple[str, ...], **environment: str) -> str:
    """Return the one sentence with which a container ends that nobody should start again."""
    bot = await place.spawn(arguments=arguments, **environment)
    assert await bot.wait() == CONFIGURATION, bot.log
    (line,) = bot.log.splitlines()
    return line


def test_image_starts_as_nobody_special_and_stops_by_sigterm(image: Image) -> None:
    config = image.config
    assert config["User"] == "1000:1000"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Volumes"] == {"/data": {}}
    assert config["Cmd"] == ["run"]
    assert config["Healthcheck"]["Test"][-1].endswith("/healthcheck.py")


def test_image_has_nothing_to_build_with_and_no_cache(image: Image) -> None:
    installed = {path.name for path in image.rootfs.glob("opt/plexlink/lib/python3*/site-packages/*")}
    assert {"plexlink", "plexlink_bot", "discord"} <= installed
    assert installed & {"pip", "setuptools", "wheel", "simcord", "pytest"} == set()
    assert [name for name in ("cc", "gcc", "make") if (image.rootfs / "usr/bin" / name).exists()] == []
    assert [path for place in ("root/.cache", "src", "pip", "tmp") for path in (image.rootfs / place).glob("*")] == []


@pytest.mark.parametrize("puid", [{}, {"PUID": ""}, {"PUID": "1000"}])
async def test_image_tells_its_version(place: Deployment, image: Image, puid: dict[str, str]) -> None:
    bot = await place.spawn(arguments=image.starts(place.data_dir, "--version"), **puid)
    assert await bot.wait() == 0
    assert bot.log.startswith("plexlink ")


async def test_link_is_still_there_after_a_stop_and_a_start(place: Deployment, image: Image) -> None:
    token = place.folder / "run/secrets/discord_token"
    token.parent.mkdir(parents=True)
    token.write_text(f"{place.discord.token}\n")
    os.chown(token, 1000, 1000)
    token.chmod(0o600)
    arguments = image.starts(place.data_dir, secrets=place.folder / "run")
    inside = {"PLEXLINK_DATA_DIR": "/data", "DISCORD_TOKEN_FILE": "/run/secrets/discord_token"}
    del place.environment["DISCORD_TOKEN"]

    bot = await place.start(arguments=arguments, **inside)
    found = identity(bot)
    assert found["Uid"] == found["Gid"] == ["1000"] * 4
    assert found["CapEff"] == found["CapBnd"] == ["0" * 16]
    found = mounts(bot)
    assert [found[place] for place in ("/", "/run", "/data")] == ["ro", "ro", "rw"]
    place.plex.approve(code_of(await place.waiting_card()))
    await place.card_saying("Linked as alice")
    assert await bot.terminate() == 0
    assert "folder_not_private" not in bot.log

    bot = await place.start(arguments=arguments, **inside)
    status = await place.discord.slash(place.alice, "plexstatus", guild=place.guild)
    await place.answer_saying(status, "alice")
    assert await bot.terminate() == 0
    assert {"plexlink.key", "plexlink.sqlite3"} <= {path.name for path in place.data_dir.iterdir()}


async def test_a_volume_that_the_first_release_left_is_upgraded_and_its_links_are_there(
    place: Deployment, image: Image
) -> None:
    plant(place)
    os.chown(place.data_dir / "plexlink.sqlite3", 1000, 1000)
    inside = {"PLEXLINK_DATA_DIR": "/data", "PLEXLINK_KEYS": KEYS}
    bot = await place.start(arguments=image.starts(place.data_dir), **inside)
    await bot.logged("store.upgraded from=0001")
    status = await place.discord.slash(place.discord.users[8], "plexstatus")
    await place.answer_saying(status, "Linked as account")
    assert await bot.terminate() == 0


async def test_health_check_of_a_bot_that_does_not_answer_says_so(place: Deployment, image: Image) -> None:
    check = await place.spawn(arguments=image.starts_check(place.data_dir), PLEXLINK_WEB_PORT="1")
    assert await check.wait() == 1
    assert check.log.startswith("not ready: ")


async def test_any_user_may_run_it_on_a_fresh_volume(place: Deployment, image: Image) -> None:
    bot = await place.start(arguments=image.starts(place.data_dir, user="1234"), PLEXLINK_DATA_DIR="/data")
    assert identity(bot)["Uid"] == ["1234"] * 4
    assert await bot.terminate() == 0
    assert {path.stat().st_uid for path in place.data_dir.iterdir()} == {1234}


@pytest.mark.parametrize(("wanted", "uid", "gid"), [({"PUID": "99", "PGID": "100"}, 99, 100), ({}, 1000, 1000)])
async def test_started_as_root_it_makes_the_volume_the_users_and_becomes_them(
    place: Deployment, image: Image, wanted: dict[str, str], uid: int, gid: int
) -> None:
    (outside := place.folder / "outside").write_text("of somebody else")
    (place.data_dir / "old").mkdir()
    (place.data_dir / "old" / "file").write_text("root's")
    (place.data_dir / "old" / "link").symlink_to(outside)
    arguments = image.starts(place.data_dir, user="0")
    bot = await place.start(arguments=arguments, PLEXLINK_DATA_DIR="/data", **wanted)
    found = identity(bot)
    assert found["Uid"] == [str(uid)] * 4
    assert found["Gid"] == [str(gid)] * 4
    assert found["Groups"] == []
    assert found["CapEff"] == found["CapPrm"] == ["0" * 16]
    assert await bot.terminate() == 0
    assert "folder_not_private" not in bot.log
    assert owners(place.data_dir) == {(uid, gid)}
    assert outside.stat().st_uid == 0
    bot = await place.start(arguments=arguments, PLEXLINK_DATA_DIR="/data", **wanted)
    assert await bot.terminate() == 0


@pytest.mark.parametrize("why", ["owner", "mount"])
async def test_volume_that_cannot_be_written_is_a_sentence_that_says_what_to_do(
    place: Deployment, image: Image, why: str
) -> None:
    if why == "owner":
        place.data_dir.chmod(0o755)  # as Docker leaves a folder of the host that it had to make
    arguments = image.starts(place.data_dir, is_read_only=why == "mount")
    said = await refusal(place, arguments, PLEXLINK_DATA_DIR="/data")
    assert said.startswith("plexlink: User 1000:1000 cannot write /data: ")
    assert "`chown -R 1000:1000`" in said
    assert "--user 0 and set PUID and PGID" in said


async def test_database_of_another_user_is_named(place: Deployment, image: Image) -> None:
    (place.data_dir / "plexlink.sqlite3").touch(mode=0o600)
    said = await refusal(place, image.starts(place.data_dir, user="1234:5678"), PLEXLINK_DATA_DIR="/data")
    assert said.startswith("plexlink: User 1234:5678 cannot write /data/plexlink.sqlite3: ")


async def test_volume_that_root_cannot_give_away_is_a_sentence(place: Deployment, image: Image) -> None:
    arguments = image.starts(place.data_dir, user="0", is_read_only=True)
    said = await refusal(place, arguments, PLEXLINK_DATA_DIR="/data", PUID="99", PGID="100")
    assert said.startswith("plexlink: User 99:100 cannot write /data: ")


@pytest.mark.parametrize("roots", ["", "+setgid", "+setuid"])
async def test_root_that_cannot_become_the_user_is_a_sentence(place: Deployment, image: Image, roots: str) -> None:
    arguments = image.starts(place.data_dir, user="0", roots=roots)
    said = await refusal(place, arguments, PLEXLINK_DATA_DIR="/data", PUID="99", PGID="100")
    assert said.startswith("plexlink: This container's root cannot become 99:100: ")
    needed = [f"+{name.lower()}" for name in re.findall(r"\b(?:[A-Z]+_)?[A-Z]{5,}\b", said)]
    assert needed == ROOTS_CAPABILITIES.split(",")


async def test_puid_without_root_is_a_sentence(place: Deployment, image: Image) -> None:
    said = await refusal(place, image.starts(place.data_dir), PLEXLINK_DATA_DIR="/data", PUID="99")
    assert said == 'plexlink: PUID is heeded where the container starts as root: add --user 0 (compose: `user: "0"`).'


@pytest.mark.parametrize("name", ["PUID", "PGID"])
@pytest.mark.parametrize("value", ["0", "-1", "nobody", "4294967295", "1.5"])
async def test_puid_that_is_no_user_is_a_sentence(place: Deployment, image: Image, name: str, value: str) -> None:
    said = await refusal(
        place,
        image.starts(place.data_dir, user="0"),
        **{"PLEXLINK_DATA_DIR": "/data", "PUID": "99", "PGID": "100", name: value},
    )
    assert said.startswith(f"plexlink: {name} must be a number above 0: ")


STOPPED_EARLY = """
import os, signal, time
from plexlink_bot import cli

def be_stopped():
    os.kill(1, signal.SIGTERM)
    time.sleep(600)

cli.app = be_stopped
cli.main()
"""


async def test_a_container_that_is_stopped_while_it_starts_ends_at_once(place: Deployment) -> None:
    alone = ("unshare", "--pid", "--fork", "--kill-child")
    first_process = await place.spawn(arguments=("-c", STOPPED_EARLY), within=alone)
    assert await first_process.wait() == 0
