"""A simulated Immich, a demo and random worlds. Used by tests and benchmarks; not in the image."""
