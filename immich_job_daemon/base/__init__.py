"""What every other package may use: logging, secrets, errors, text, time, worker threads."""
