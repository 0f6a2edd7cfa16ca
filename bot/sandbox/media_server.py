"""A small Plex Media Server on loopback, which knows what its members are in the middle of.

    async with PlexTV() as plex, MediaServer() as server:
        plex.share(server.admit(), ALICE)   # from now on plex.tv tells alice where it is, and what opens it

It answers `/library/onDeck` in JSON, as a real one does to who asks for it, and keeps who asked in `requests`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from aiohttp import web

from .plex_answers import Connection, Server, html_answer, json_answer
from .site import Site

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .plex_answers import Answer


@dataclass(frozen=True, slots=True)
class Film:
    """A film that somebody has begun, or with a `series` the next episode of it."""

    title: str
    year: int
    series: str = ""


FILMS = (
    Film("The Lighthouse Keeper's Accordion", 1974),
    Film("Seven Umbrellas", 2011),
    Film("The Wrong Ferry", 2019, series="Harbour Street"),
)


class MediaServer:
    """The server; `films` is what is on deck, for whoever is admitted."""

    def __init__(self, *, name: str = "Home Cinema", films: Sequence[Film] = FILMS, port: int = 0) -> None:
        self.name = name
        self.films = films
        self.requests: list[Mapping[str, str]] = []
        """The headers of every request, in order."""
        self._client_identifier = secrets.token_hex(20)
        self._access_tokens: set[str] = set()
        self._site = Site(self._build, port=port)

    async def __aenter__(self) -> Self:
        await self._site.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Close every connection."""
        await self._site.stop()

    def admit(self) -> Server:
        """Return the server as one more account sees it, with an access token of its own."""
        access_token = secrets.token_urlsafe(15)
        self._access_tokens.add(access_token)
        return Server(
            name=self.name,
            client_identifier=self._client_identifier,
            access_token=access_token,
            connections=(Connection(uri=self._site.url, local=True),),
        )

    def _build(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/library/onDeck", self._on_deck)
        return app

    async def _on_deck(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.headers)
        return self._answer(request.headers).response()

    def _answer(self, headers: Mapping[str, str]) -> Answer:
        if headers.get("X-Plex-Token") not in self._access_tokens:
            return html_answer(401, "401 Unauthorized")
        if "application/json" not in headers.get("Accept", ""):
            return html_answer(406, "The stand-in speaks JSON only")
        films = [_metadata(number, film) for number, film in enumerate(self.films, start=1)]
        return json_answer(
            {
                "MediaContainer": {
                    "size": len(films),
                    "allowSync": False,
                    "identifier": "com.plexapp.plugins.library",
                    "mediaTagPrefix": "/system/bundle/media/flags/",
                    "mediaTagVersion": 1700000000,
                    "mixedParents": True,
                    **({"Metadata": films} if films else {}),
                }
            }
        )


def _metadata(number: int, film: Film) -> dict[str, object]:
    series = {"grandparentTitle": film.series, "parentIndex": 1, "index": number} if film.series else {}
    return {
        "ratingKey": str(number),
        "key": f"/library/metadata/{number}",
        "type": "episode" if film.series else "movie",
        "title": film.title,
        "year": film.year,
        "duration": 5_400_000,
        "viewOffset": 600_000 * number,
        **series,
    }
