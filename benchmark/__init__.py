"""Benchmarks of the daemon: beside a plain shell daemon, the ideal, and Immich alone.

- ``workloads``: what is uploaded and reindexed, and when.
- ``scenario``: one workload on a simulated Immich, and what was measured of it.
- ``contenders``: the shell daemon, this daemon, the ideal, and Immich alone.
- ``features``: the effect of the settings YIELD_AFTER and SCHEDULE.
- ``forecasts``: the accuracy of the daemon's forecast at half-time.
- ``http_load``, ``process_cost``: the cost of the daemon's process, in real time.
- ``results``: all measurements, and what is expected of them.
- ``report``, ``page``: the tables, the plot and the text of docs/benchmark.md.
"""
