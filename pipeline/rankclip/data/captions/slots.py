"""Slots: a way to describe images, with any number of captions for each. Imports nothing."""

from __future__ import annotations

RAW = "raw"
"""The slot of the caption that came with the URL; every image has one there."""

PREFIX = "captions."
"""Begins the names of the index's columns of captions, lists of strings."""
