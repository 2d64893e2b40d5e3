"""A simulated Immich 3.1: one model, in virtual time or in real time.

- ``pipeline``: which jobs an upload starts, and what they cost; all data.
- ``simulated_queue``: one queue, its jobs by state, and how BullMQ counts them.
- ``engine``: a discrete-event simulation of all queues: jobs, pauses, restarts.
- ``events``: the events that an engine sends to its observers.
- ``api`` and ``bodies``: both of Immich's APIs as recorded from Immich 3.1.0, without a socket.
- ``faults``: ways in which a request can fail.
- ``virtual_time``: a clock and a transport in virtual time, in this process.
- ``server``: the simulated Immich over real HTTP, in real time.
- ``run_history``: which queue ran when, from the events of an engine.
- ``ports``: free TCP ports.
"""

from typing import Final, Literal

from simulator.immich.api import Api, Key
from simulator.immich.engine import Engine

KEY: Final = "simulated-api-key"
"""The API key that ``simulated_immich`` accepts."""


def simulated_immich(*, bullmq: Literal[5, 6] = 5, seed: int = 0) -> tuple[Engine, Api]:
    """Return an idle Immich and its API. ``KEY`` is an administrator's key with all permissions.

    >>> engine, api = simulated_immich()
    >>> api.respond("GET", "/api/server/ping", {}, None).body
    b'{"res":"pong"}'
    """
    engine = Engine(bullmq=bullmq, seed=seed)
    return engine, Api(engine, keys={KEY: Key(name="administrator")})
