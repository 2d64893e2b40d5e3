"""A line to Immich that can be made slow, and that can be cut."""

import asyncio
from contextlib import suppress
from threading import Thread
from time import monotonic
from types import TracebackType
from typing import Final, Self

LOOKS: Final = (b"GET /api/queues ", b"GET /api/jobs ")
_CHUNK: Final = 65536


class Line:
    """Carries what is sent to a port of its own on to Immich, and back; a context manager.

    Args:
        port: of Immich, at 127.0.0.1.

    Attributes:
        latency: seconds by which every answer comes late.
        looks: when each of the daemon's looks came, whatever became of it.
    """

    def __init__(self, port: int) -> None:
        self.latency = 0.0
        self.looks: list[float] = []
        self.port = 0
        self._immich = port
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where it begins."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

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
            # Where Immich is away nobody takes the connection.
            with suppress(OSError):
                await self._join(reader, writer)
        finally:
            self._ends.discard(writer)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._immich)
        self._ends.add(back)
        try:
            await asyncio.gather(
                self._carry(reader, back, is_answer=False),
                self._carry(there, writer, is_answer=True),
            )
        finally:
            self._ends.discard(back)
            back.transport.abort()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        try:
            while chunk := await reader.read(_CHUNK):
                if is_answer and self.latency:
                    await asyncio.sleep(self.latency)
                if chunk.startswith(LOOKS):
                    self.looks.append(monotonic())
                writer.write(chunk)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            writer.transport.abort()
