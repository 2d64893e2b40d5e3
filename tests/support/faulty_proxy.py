"""A TCP proxy with faults: delay, loss, a disconnected cable, reset connections."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random
from threading import Thread
from time import monotonic
from typing import Final, Self

POLLS: Final = (b"GET /api/queues ", b"GET /api/jobs ")
RETRANSMISSION_DELAY: Final = 0.3
"""Seconds after which a lost chunk arrives: about the time that TCP takes to send it again."""
_CHUNK: Final = 65536
_InTransit = asyncio.Queue[tuple[float, bytes]]


class FaultyProxy:
    """Forward a port of its own to a server on 127.0.0.1; a context manager.

    The faults are made here and not in the kernel, because not every kernel has netem.

    Args:
        port: the server's.

    Attributes:
        delay: seconds by which each chunk is delayed, in both directions; also the end of a
            connection.
        loss: the probability that a chunk is lost and sent again.
        polls: when each poll of the daemon arrived, whether it was answered or not.
        requests_after_close: requests sent on a connection that the server had closed already.
    """

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        self.loss = 0.0
        self.polls: list[float] = []
        self.requests_after_close = 0
        self.port = 0
        self._target = port
        self._random = Random(0)  # noqa: S311 - the same losses at each run
        self._plugged_in = asyncio.Event()
        self._plugged_in.set()
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
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

    def plug_in(self) -> None:
        """Connect the cable and deliver what was kept."""
        self._loop.call_soon_threadsafe(self._plugged_in.set)

    def unplug(self) -> None:
        """Disconnect the cable; data in transit is kept until it is plugged in again."""
        self._loop.call_soon_threadsafe(self._plugged_in.clear)

    def reset_connections(self) -> None:
        """Reset all connections; data in transit is lost."""
        self._loop.call_soon_threadsafe(self._reset_connections)

    def _reset_connections(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        try:
            await self._plugged_in.wait()
            # When the server is down, its port refuses the connection.
            with suppress(OSError):
                await self._forward(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers.add(to_server)
        is_closed = asyncio.Event()
        requests: _InTransit = asyncio.Queue()
        responses: _InTransit = asyncio.Queue()
        try:
            await asyncio.gather(
                self._receive(reader, requests, partial(self._note_request, is_closed)),
                self._deliver(requests, to_server),
                self._receive(upstream, responses, partial(_note_response, is_closed)),
                self._deliver(responses, writer),
            )
        finally:
            self._writers.discard(to_server)
            to_server.transport.abort()

    def _note_request(self, is_closed: asyncio.Event, data: bytes) -> None:
        if data.startswith(POLLS):
            self.polls.append(monotonic())
        if data and is_closed.is_set():
            self.requests_after_close += 1

    async def _receive(
        self,
        reader: asyncio.StreamReader,
        in_transit: _InTransit,
        note: Callable[[bytes], object],
    ) -> None:
        """Read until the end of the stream; pass the end on as an empty chunk."""
        data = b"more"
        while data:
            data = b""
            with suppress(OSError):
                data = await reader.read(_CHUNK)
            note(data)
            is_lost = self._random.random() < self.loss
            arrival = monotonic() + self.delay + RETRANSMISSION_DELAY * is_lost
            in_transit.put_nowait((arrival, data))

    async def _deliver(self, in_transit: _InTransit, writer: asyncio.StreamWriter) -> None:
        """Write each chunk at its time of arrival."""
        data = b"more"
        while data:
            arrival, data = await in_transit.get()
            await asyncio.sleep(max(0.0, arrival - monotonic()))
            await self._plugged_in.wait()
            # A peer that has gone takes no more data; the other side learns it from its own end.
            with suppress(OSError):
                if data:
                    writer.write(data)
                    await writer.drain()
                elif writer.can_write_eof():
                    writer.write_eof()


def _note_response(is_closed: asyncio.Event, data: bytes) -> None:
    if not data:
        is_closed.set()
