"""The scheduling rules. Pure: no I/O, no clock, no logging."""
