"""What a trial is: its fields, their rules, and how files and options set them."""
