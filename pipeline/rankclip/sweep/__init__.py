"""Searching the settings of arms: which, how far each is trained, and which one is named the winner."""
