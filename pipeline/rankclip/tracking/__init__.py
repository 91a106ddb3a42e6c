"""The only door to MLflow: one experiment for a study or a sweep, one run for each training, one writer.

Results are plain files first; what MLflow shows is copied from them. So a tracker that cannot be reached
costs a warning and nothing else, and the same calls made again later send what is missing.
"""

from rankclip.tracking.database import ready
from rankclip.tracking.machine import MachineMeter
from rankclip.tracking.models import Weights, link, name_winner
from rankclip.tracking.page import page, path
from rankclip.tracking.place import artifacts, uri
from rankclip.tracking.run import RunLog
from rankclip.tracking.tracker import Tracker, experiment_name, ping
from rankclip.tracking.view import COMPARISON, VIEW_TAG
from rankclip.versions import git_commit

__all__ = [
    "COMPARISON",
    "VIEW_TAG",
    "MachineMeter",
    "RunLog",
    "Tracker",
    "Weights",
    "artifacts",
    "experiment_name",
    "git_commit",
    "link",
    "name_winner",
    "page",
    "path",
    "ping",
    "ready",
    "uri",
]
