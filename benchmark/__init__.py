"""Benchmarks of the daemon: beside a plain shell daemon, the ideal, and Immich alone.

- ``scenario``: the workloads, and one run of a workload on a simulated Immich.
- ``contenders``: the shell daemon, this daemon, the ideal, and Immich alone.
- ``features``: the effect of YIELD_AFTER and SCHEDULE, and the accuracy of the forecast.
- ``process_cost``: the cost of the daemon's process, also under load, in real time.
- ``results``: all measurements, and what is expected of them.
- ``report``, ``page``: the tables, the plot and the text of docs/benchmark.md.
"""
