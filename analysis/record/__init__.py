"""The MLflow record, as frames."""
