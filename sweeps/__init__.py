"""Ask one question per script: plan its trials, train them with Ray Tune, record them in MLflow."""
