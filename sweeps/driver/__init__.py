"""One sweep from its options to its summary."""
