"""Trained models to and from other programs: what `rankclip export` and `rankclip import` do."""
