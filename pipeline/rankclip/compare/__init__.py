"""Runs and arms side by side in the terminal, with the statistics of the report."""
