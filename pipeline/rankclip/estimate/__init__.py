"""What a study will take, before anything is spent: memory, time, money, disk, and what it can detect."""

from rankclip.estimate.outlook import device_of, line, seconds

__all__ = ["device_of", "line", "seconds"]
