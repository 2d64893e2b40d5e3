"""The daemon and the simulated Immich together, in virtual time: what tests and figures stand on.

- ``virtual``: the real daemon, scheduler, pacing and client on a clock that costs nothing.
- ``world``: one seeded random world, lived through and judged.
- ``soak``: as many worlds as asked for, in parallel.
"""
