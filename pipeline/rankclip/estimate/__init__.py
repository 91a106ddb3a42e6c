"""What a study will take, before anything is spent: memory, time, money, disk, and what it can detect."""

from rankclip.estimate.outlook import line

__all__ = ["line"]
