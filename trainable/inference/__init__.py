"""What a trained network says of an image."""
