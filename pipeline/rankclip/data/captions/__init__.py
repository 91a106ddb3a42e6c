"""Captions from tables beside the images, joined to samples by URL or key."""
