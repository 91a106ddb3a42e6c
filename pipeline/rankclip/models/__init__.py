"""Image-text models."""
