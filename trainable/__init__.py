"""Train one trial of pixel-wise adversarial segmentation: plain PyTorch, no Ray, no MLflow."""
