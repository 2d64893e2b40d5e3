"""Immich Job Daemon: runs Immich's background queues by priority, at most N at once."""

__version__ = "0.1.0"
