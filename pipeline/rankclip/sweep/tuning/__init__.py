"""The only door to Ray Tune: trains the trials of an arm side by side and stops what falls behind."""

from rankclip.sweep.tuning.search import ArmSearch, Resources, rungs, search, unit

__all__ = ["ArmSearch", "Resources", "rungs", "search", "unit"]
