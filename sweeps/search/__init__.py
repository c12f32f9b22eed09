"""What is trained next: a list, a race of seeds or a search with Optuna."""
