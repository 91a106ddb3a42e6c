"""Samples read from shards, in an order that is a function of seed and epoch."""
