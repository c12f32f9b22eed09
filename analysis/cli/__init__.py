"""What the commands of the analysis share."""
