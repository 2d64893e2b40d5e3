"""A simulated Immich 3.1: one model, two clocks.

- ``pipeline``: what an upload makes Immich do, and what it costs; all data.
- ``simulated_queue``: one queue, its jobs by state, and how BullMQ counts them.
- ``engine``: the queues' life, event by event: jobs, pauses, restarts.
- ``events``: what the observers of an engine are told.
- ``api`` and ``bodies``: both of Immich's APIs as recorded from Immich 3.1.0, without a socket.
- ``faults``: what can go wrong with a request.
- ``virtual``: the clock and the transport for virtual time, in this process.
- ``server``: the same over real HTTP, in real time.
"""

from typing import Final, Literal

from simulator.immich.api import Api, Key
from simulator.immich.engine import Engine

KEY: Final = "simulated-api-key"
"""The API key of ``simulated_immich``."""


def simulated_immich(*, bullmq: Literal[5, 6] = 5, seed: int = 0) -> tuple[Engine, Api]:
    """Return an idle Immich and its API, with ``KEY`` as an administrator's key for everything.

    >>> engine, api = simulated_immich()
    >>> api.answer("GET", "/api/server/ping", {}, None).body
    b'{"res":"pong"}'
    """
    engine = Engine(bullmq=bullmq, seed=seed)
    return engine, Api(engine, keys={KEY: Key(name="administrator")})
