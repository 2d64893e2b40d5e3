"""The published status, what is counted, and the hub that hands the status to its readers."""
