"""The vocabulary of the daemon as frozen data: queues, settings, controls, reasons, windows."""
