"""The main loop: poll, decide, save, send, publish, wait."""
