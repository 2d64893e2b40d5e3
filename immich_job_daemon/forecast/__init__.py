"""Forecasts when the pending jobs will be done. Pure: no I/O, no clock."""
