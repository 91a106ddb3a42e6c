"""Curated samples packed into tars with an index."""
