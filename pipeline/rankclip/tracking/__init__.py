"""The only door to MLflow: one experiment for a study, one run for each arm and seed, one writer.

Results are plain files first; what MLflow shows is copied from them. So a tracker that cannot be reached
costs a warning and nothing else, and the same calls made again later send what is missing.
"""

from rankclip.tracking.database import ready
from rankclip.tracking.place import artifacts, uri
from rankclip.tracking.run import RunLog
from rankclip.tracking.tracker import Tracker, ping
from rankclip.versions import git_commit

__all__ = ["RunLog", "Tracker", "artifacts", "git_commit", "ping", "ready", "uri"]
