"""The read-only API: JSON, Prometheus metrics and the health check."""
