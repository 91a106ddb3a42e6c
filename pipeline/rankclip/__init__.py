"""Studies of ranking consistency in image-text pretraining."""

__version__ = "0.1.0"
