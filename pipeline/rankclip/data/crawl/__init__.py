"""Fetching what a caption list names: img2dataset behind a guarded opener."""
