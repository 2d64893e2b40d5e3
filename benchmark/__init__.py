"""What the daemon is worth, in figures: beside the plain algorithm, the ideal, and Immich alone.

- ``workloads``: what is uploaded and reindexed, and when.
- ``record``: watches an engine and tells which queue ran when, and when none did.
- ``plain``, ``ideal``: two other ways to run the queues.
- ``contenders``: all ways, this daemon among them, started on a workload in virtual time.
- ``outcome``: the figures of one run.
- ``forecasts``: what the daemon said when half of the time was over, beside the truth.
- ``process``: what the daemon's own process costs, in real time.
- ``expected``: what must be seen, and whether it was.
- ``measure``: everything above, once over.
- ``report``, ``table``, ``plot``, ``page``: the same for people.
"""
