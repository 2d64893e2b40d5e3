"""The real daemon and the simulated Immich together, in virtual time.

- ``virtual_daemon``: stand-ins for the daemon's clock, its ledger's file and its threads.
- ``world``: one random world, simulated from a seed.
- ``crashing``: the daemon's clock, ledger and client, where any use can kill the daemon.
- ``judge``: checks what the daemon must never do.
- ``soak``: many random worlds in parallel.
- ``day``, ``browser``, ``screenshots``: a busy day, and the page that shows it.
"""
