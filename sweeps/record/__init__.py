"""The MLflow record, as the driver writes and reads it."""
