"""Where tars lie: a folder, or a prefix of an S3 bucket, read and written by one interface."""

from rankclip.storage.places import at_hand, for_tars, of_tars, store, write_place
from rankclip.storage.store import Stat, Store

__all__ = ["Stat", "Store", "at_hand", "for_tars", "of_tars", "store", "write_place"]
