"""Crawled images verified, filtered and freed of duplicates."""
