"""Choose which training runs come next: a list, adaptive seeds or a search with Optuna."""
