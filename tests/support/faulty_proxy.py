"""A faulty line to a server: slow, lossy, without a cable for a while, or cut."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random
from threading import Thread
from time import monotonic
from typing import Final, Self

LOOKS: Final = (b"GET /api/queues ", b"GET /api/jobs ")
RESENT: Final = 0.3
"""Seconds after which what was lost comes once more: about TCP's own time for that."""
_CHUNK: Final = 65536
_UnderWay = asyncio.Queue[tuple[float, bytes]]


class FaultyProxy:
    """Carries what is sent to a port of its own on to a server, and back; a context manager.

    Not in the kernel: its own way to delay packets, netem, is not in every kernel.

    Args:
        port: of the server, at 127.0.0.1.

    Attributes:
        delay: seconds that each byte takes, in both directions; the end of a connection too.
        loss: the share of what is sent that is lost, and sent again.
        looks: when each of the daemon's looks came, whatever became of it.
        crossed: how many requests met a connection that the server had closed, but the client not
            yet.
    """

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        self.loss = 0.0
        self.looks: list[float] = []
        self.crossed = 0
        self.port = 0
        self._target = port
        self._random = Random(0)  # noqa: S311 - the same losses at each run
        self._is_in = asyncio.Event()
        self._is_in.set()
        self._loop = asyncio.new_event_loop()
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it begins."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def plug(self, *, in_: bool) -> None:
        """Put the cable in, or pull it: what is under way then comes when it is in again."""
        self._loop.call_soon_threadsafe(self._is_in.set if in_ else self._is_in.clear)

    def cut(self) -> None:
        """Reset every connection that there is, with all that is under way in it."""
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._ends.add(writer)
        try:
            await self._is_in.wait()
            # Where the server is away nobody takes the connection.
            with suppress(OSError):
                await self._join(reader, writer)
        finally:
            self._ends.discard(writer)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        self._ends.add(back)
        is_closed = asyncio.Event()
        requests: _UnderWay = asyncio.Queue()
        answers: _UnderWay = asyncio.Queue()
        try:
            await asyncio.gather(
                self._take(reader, requests, partial(self._requested, is_closed)),
                self._bring(requests, back),
                self._take(there, answers, partial(_answered, is_closed)),
                self._bring(answers, writer),
            )
        finally:
            self._ends.discard(back)
            back.transport.abort()

    def _requested(self, is_closed: asyncio.Event, data: bytes) -> None:
        if data.startswith(LOOKS):
            self.looks.append(monotonic())
        if data and is_closed.is_set():
            self.crossed += 1

    async def _take(
        self,
        reader: asyncio.StreamReader,
        under_way: _UnderWay,
        note: Callable[[bytes], object],
    ) -> None:
        """Take what is sent, until there is no more: its end is empty."""
        data = b"more"
        while data:
            data = b""
            with suppress(OSError):
                data = await reader.read(_CHUNK)
            note(data)
            is_lost = self._random.random() < self.loss
            under_way.put_nowait((monotonic() + self.delay + RESENT * is_lost, data))

    async def _bring(self, under_way: _UnderWay, writer: asyncio.StreamWriter) -> None:
        """Bring each piece to the other side when its time has come."""
        data = b"more"
        while data:
            when, data = await under_way.get()
            await asyncio.sleep(max(0.0, when - monotonic()))
            await self._is_in.wait()
            # Whoever has gone takes nothing more; the other side is told of it by its own end.
            with suppress(OSError):
                if data:
                    writer.write(data)
                    await writer.drain()
                elif writer.can_write_eof():
                    writer.write_eof()


def _answered(is_closed: asyncio.Event, data: bytes) -> None:
    if not data:
        is_closed.set()
