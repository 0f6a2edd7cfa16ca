"""The composition root of the plugin: builds all of it."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import discord

from . import keys
from .bell import Bell
from .clock import Clock
from .errors import PlexLinkError
from .events import Linked, TokenDead, Unlinked
from .files import is_open_to_others
from .keeper import Keeper
from .keys import open_vault
from .ledger import Ledger
from .linking import Linking
from .links import Links
from .members import Members
from .observations import unobserved
from .ownership import Ownership
from .plex import Pace, PinStyle, PlexClient, header_text
from .reach import Reach
from .servers import Servers
from .store import Database, Store
from .surface.admin import PlexAdmin
from .surface.audits import DiscordAudits
from .surface.cog import Desk, PlexLink
from .surface.guilds import Guilds, shards_of
from .surface.notifier import DiscordNotifier
from .surface.panels import DiscordPanels
from .surface.roles import DiscordRoles
from .surface.server_events import ServerEvents
from .tokens import Tokens
from .version import VERSION
from .vitals import Vitals
from .work.access import AccessCheck
from .work.agenda import Agenda
from .work.asker import Asker
from .work.audits import Audits
from .work.given_up import GivenUpCodes
from .work.hand import Hand
from .work.health import HealthCheck
from .work.holders import Holders
from .work.noted import NotedNotifier, NotedRoles
from .work.notices import Notices
from .work.panels import Panels
from .work.presenter import Presenter
from .work.roles import Roles
from .work.showing import Turns
from .work.sign_outs import SignOuts
from .work.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from discord.ext import commands

    from .bell import Happened
    from .observations import Observation, Observe
    from .settings import PlexLinkSettings
    from .tenure import Fence
    from .vault import Vault

_log = logging.getLogger(__name__)


def build(bot: commands.Bot, settings: PlexLinkSettings) -> tuple[PlexLink, PlexAdmin, ServerEvents]:
    """Return the cogs: the members', which opens all resources when it is added, the owners', and the servers'."""
    plexlink = PlexLink(bot=bot, opener=lambda: running(bot, settings), is_user_installable=settings.user_install)
    panels = DiscordPanels(bot=bot, guilds=Guilds(bot=bot))
    return plexlink, PlexAdmin(bot=bot, plexlink=plexlink, panels=panels), ServerEvents(bot=bot, plexlink=plexlink)


@asynccontextmanager
async def running(bot: commands.Bot, settings: PlexLinkSettings) -> AsyncIterator[Desk]:
    """Open all that the service needs, innermost last, and close it in the opposite order.

    Raises:
        SettingError, StoreError, VaultError: one sentence says what is wrong, and which variable mends it.

    """
    observe = _safely(getattr(bot, "plexlink_observe", unobserved))
    reach = Reach(observe=observe, monotonic=asyncio.get_running_loop().time)
    product = _product(bot, settings)
    product()  # to say at the start what Plex will show
    pin_style = PinStyle(str(settings.pin_style))  # a reloaded plugin may be given its former class
    clock = Clock(now=discord.utils.utcnow, monotonic=asyncio.get_running_loop().time)
    pace = Pace(settings.plex_rate)
    settings.make_folder()
    client = PlexClient(
        base_url=settings.plex_url,
        product=product,
        version=VERSION,
        pace=pace,
        monotonic=clock.monotonic,
        proxy=None if settings.proxy is None else settings.proxy.reveal(),
        observe=reach.observe,
    )
    async with AsyncExitStack() as resources:
        database = await resources.enter_async_context(Database.open(settings.database_place, observe=observe))
        plex = await resources.enter_async_context(client)
        vault = await open_vault(database, settings)
        store = Store(database=database, vault=vault)
        bell, guilds = Bell(), Guilds(bot=bot)
        bell.listen(_publisher(bot))
        _warn_of_others(database, settings)
        ground = _Ground(
            bot=bot,
            settings=settings,
            database=database,
            vault=vault,
            store=store,
            ledger=Ledger(store=store, clock=clock, bell=bell, observe=observe),
            bell=bell,
            clock=clock,
            plex=plex,
            pace=pace,
            pin_style=pin_style,
            guilds=guilds,
            notifier=DiscordNotifier(
                bot=bot, guilds=guilds, clock=clock, plex_url=settings.plex_url, pin_style=pin_style, product=product
            ),
            reach=reach,
        )
        desk = _desk(ground, await resources.enter_async_context(_work(ground)))
        resources.push_async_callback(desk.tokens.stop)
        yield desk


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What the use cases and the work stand on."""

    bot: commands.Bot
    settings: PlexLinkSettings
    database: Database
    vault: Vault
    store: Store
    ledger: Ledger
    bell: Bell
    clock: Clock
    plex: PlexClient
    pace: Pace
    pin_style: PinStyle
    guilds: Guilds
    notifier: DiscordNotifier
    reach: Reach


def _desk(ground: _Ground, work: Worker | Keeper) -> Desk:
    """Return what members, owners and other extensions ask for."""
    ledger, bell, clock, settings = ground.ledger, ground.bell, ground.clock, ground.settings
    links = Links(ledger=ledger, bell=bell, clock=clock, audit_days=settings.audit_days)
    return Desk(
        linking=Linking(ledger=ledger, clock=clock, max_pending=settings.max_pending),
        links=links,
        servers=Servers(ledger=ledger, clock=clock, grace=settings.role_grace),
        ownership=Ownership(ledger=ledger, bell=bell, clock=clock, grace=settings.role_grace),
        members=Members(ledger=ledger, links=links, clock=clock),
        tokens=Tokens(store=ground.store, clock=clock),
        vitals=Vitals(
            store=ground.store,
            clock=clock,
            pace=ground.pace,
            working=work,
            check_keys=ground.vault.check,
            are_keys_backed_up=lambda numbers: keys.are_backed_up(settings, numbers),
            folder=ground.database.folder,
        ),
        notifier=ground.notifier,
        clock=clock,
        resume=work.resume,
    )


@asynccontextmanager
async def _work(ground: _Ground) -> AsyncIterator[Worker | Keeper]:
    """Work, or keep ready to where several processes could, for as long as the block lasts."""
    hand = Hand()

    def begin(fence: Fence) -> AbstractAsyncContextManager[Worker]:
        return _working(
            ground,
            ground.store.fenced(fence),
            hand,
            may_work=keeper.may_work,
            fenced=keeper.fenced,
            is_overtaken=keeper.is_overtaken,
        )

    shards = shards_of(ground.bot)
    line = ground.database.line(host=socket.gethostname(), shards=str(shards), version=VERSION)
    if line is None:
        try:
            async with _working(ground, ground.store, hand) as worker:
                yield worker
        finally:
            with suppress(PlexLinkError):  # the store has said what is wrong
                await hand.put_down(ground.ledger)
        return
    keeper = Keeper(
        line=line,
        store=ground.store,
        bell=ground.bell,
        vault=ground.vault,
        shards=shards,
        reach=ground.reach,
        begin=begin,
        rest=lambda: hand.put_down(ground.ledger),
        learn=ground.clock.observe,
        replaced=lambda error: ground.bot.dispatch("plexlink_replaced", error),
    )
    try:
        await keeper.start()
        yield keeper
    finally:
        await keeper.stop()


@asynccontextmanager
async def _working(
    ground: _Ground,
    store: Store,
    hand: Hand,
    *,
    may_work: Callable[[], bool] = lambda: True,
    fenced: Callable[[], None] = lambda: None,
    is_overtaken: Callable[[], bool] = lambda: False,
) -> AsyncIterator[Worker]:
    """Do for a while what exactly one process does."""
    bell, clock, plex, guilds, settings = ground.bell, ground.clock, ground.plex, ground.guilds, ground.settings
    notifier = NotedNotifier(ground.notifier)
    panels, roles = DiscordPanels(bot=ground.bot, guilds=guilds), DiscordRoles(guilds=guilds)
    ledger = Ledger(store=store, clock=clock, bell=bell, observe=ground.reach.observe)
    agenda, turns = Agenda(pace=ground.pace), Turns()
    presenter = Presenter(
        ledger=ledger, agenda=agenda, notifier=notifier, turns=turns, clock=clock, observe=ground.reach.observe
    )
    worker = Worker(
        ledger=ledger,
        agenda=agenda,
        asker=Asker(
            ledger=ledger,
            plex=plex,
            agenda=agenda,
            presenter=presenter,
            clock=clock,
            pin_style=ground.pin_style,
            hand=hand,
        ),
        presenter=presenter,
        sign_outs=SignOuts(ledger=ledger, plex=plex, agenda=agenda, clock=clock),
        given_up=GivenUpCodes(ledger=ledger, plex=plex, agenda=agenda, clock=clock, hand=hand),
        notices=Notices(ledger=ledger, agenda=agenda, notifier=notifier, turns=turns, clock=clock),
        health=HealthCheck(ledger=ledger, plex=plex, agenda=agenda, bell=bell, clock=clock),
        access=AccessCheck(ledger=ledger, plex=plex, agenda=agenda, bell=bell, clock=clock),
        roles=Roles(
            ledger=ledger,
            agenda=agenda,
            keeper=NotedRoles(roles),
            clock=clock,
            grace=settings.role_grace,
        ),
        audits=Audits(ledger=ledger, agenda=agenda, channel=DiscordAudits(guilds=guilds), clock=clock),
        panels=Panels(ledger=ledger, agenda=agenda, keeper=panels, clock=clock),
        holders=Holders(ledger=ledger, agenda=agenda, lister=roles, clock=clock),
        clock=clock,
        audit_days=settings.audit_days,
        may_work=may_work,
        fenced=fenced,
        is_overtaken=is_overtaken,
        hand=hand,
    )
    stop_hearing = bell.listen(worker.hear)
    try:
        await worker.start()
        yield worker
    finally:
        try:
            await worker.stop()
        finally:
            stop_hearing()


def _safely(observe: Observe) -> Observe:
    """Return an observer that disturbs nobody, whatever its host has made of it."""

    def tell(observation: Observation) -> None:
        try:
            observe(observation)
        except Exception:  # noqa: BLE001 - the host's; logged
            _log.exception("observation.not_taken kind=%s", type(observation).__name__)

    return tell


def _publisher(bot: commands.Bot) -> Callable[[Happened], None]:
    """Return how other extensions hear of links; what they do with it is theirs, and discord.py logs what fails."""
    names = {Linked: "plexlink_linked", Unlinked: "plexlink_unlinked", TokenDead: "plexlink_token_dead"}

    def publish(happened: Happened) -> None:
        if type(happened) in names:
            bot.dispatch(names[type(happened)], happened)

    return publish


def _product(bot: commands.Bot, settings: PlexLinkSettings) -> Callable[[], str]:
    """Return how to learn the name that Plex shows: a bot knows its own only after it has logged in.

    Where Plex shows another one than the bot has, it is said once.
    """
    said: set[str] = set()

    def product() -> str:
        name = settings.plex_product or (bot.user.name if bot.user else "")
        shown = header_text(name) or "PlexLink"
        if name not in {"", shown} and shown not in said:
            said.add(shown)
            _log.info('plex.product Plex shows this bot as "%s"; PLEXLINK_PLEX_PRODUCT names it otherwise', shown)
        return shown

    return product


def _warn_of_others(database: Database, settings: PlexLinkSettings) -> None:
    """Say what other users of the machine may open; the database's own files are made private without a word."""
    for folder in sorted({settings.data_dir.resolve(), database.folder or settings.data_dir.resolve()}):
        if is_open_to_others(folder):
            _log.warning(
                "store.folder_not_private folder=%s: others may open it; give the bot one of its own, chmod 700", folder
            )
    if is_open_to_others(settings.key_file):
        _log.warning("vault.key_not_private file=%s: others may read it; chmod 600", settings.key_file)
