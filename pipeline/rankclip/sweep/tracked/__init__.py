"""What MLflow shows of a sweep."""
