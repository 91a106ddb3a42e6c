"""The only door to Ray tasks and Ray Train: schedules runs alike on one machine and on a cluster.

`map_tasks` runs a function of one device over items, `stream_tasks` a function over any number of them,
`train_group` one function on several workers at once, and `session` is the Ray they run on: the cluster at
`RAY_ADDRESS`, or a local one that ends with us.
"""

from rankclip.launch.group import train_group
from rankclip.launch.queue import Outcome
from rankclip.launch.session import count_nodes, on_cluster, session
from rankclip.launch.stopping import GRACE_S, stoppable
from rankclip.launch.tasks import has_gpus, map_tasks, room, stream_tasks, values

__all__ = [
    "GRACE_S", "Outcome", "count_nodes", "has_gpus", "map_tasks", "on_cluster", "room", "session",
    "stoppable", "stream_tasks", "train_group", "values",
]  # fmt: skip
