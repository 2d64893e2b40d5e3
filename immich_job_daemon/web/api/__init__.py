"""The API for machines: JSON totals, Prometheus metrics and the health check."""
