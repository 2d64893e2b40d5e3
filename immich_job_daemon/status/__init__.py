"""The published status, its counters and history, and the hub that shares it between threads."""
