"""A simulated Immich, a demo and random worlds, for tests and benchmarks. Not in the image."""
