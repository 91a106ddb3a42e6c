"""The only door to Ray tasks and Ray Train: schedules runs alike on one machine and on a cluster.

`map_tasks` runs a function of one device over items, `train_group` one function on several workers at
once, and `session` is the Ray both run on: the cluster at `RAY_ADDRESS`, or a local one that ends with us.
"""

from rankclip.launch.group import train_group
from rankclip.launch.session import session
from rankclip.launch.tasks import Outcome, map_tasks, values

__all__ = ["Outcome", "map_tasks", "session", "train_group", "values"]
