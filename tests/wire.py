"""A wire to a server on loopback, which can be cut without a word: nothing comes through, and nobody is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class Wire:
    """Carry connections to a port, to be used as an asynchronous context manager."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._is_whole = asyncio.Event()
        self._is_whole.set()
        self._carrying: set[asyncio.Task[None]] = set()
        self.port = 0

    def cut(self) -> None:
        """Carry nothing any more, and say so to nobody."""
        self._is_whole.clear()

    def mend(self) -> None:
        """Carry again, also what has waited meanwhile."""
        self._is_whole.set()

    def lead_to(self, port: int) -> None:
        """Carry connections from now on to another port."""
        self._to = port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in tuple(self._carrying):
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        ends = [writer]
        try:
            await self._is_whole.wait()
            there, away = await asyncio.open_connection("127.0.0.1", self._to)
            ends.append(away)
            await asyncio.gather(self._carry(reader, away), self._carry(there, writer))
        except (OSError, asyncio.CancelledError):
            pass  # a server's task that ends in another way is reported as a fault
        finally:
            self._carrying.discard(task)
            for end in ends:
                end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry in one direction until its end, and let that be the end of both."""
        while content := await reader.read(2**16):
            await self._is_whole.wait()
            writer.write(content)
            await writer.drain()
        raise ConnectionError
