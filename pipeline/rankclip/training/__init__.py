"""Pretraining: a loop without Ray, its steps, checkpoints and optimiser."""
