"""Tars of samples that a user has, indexed where they are."""
