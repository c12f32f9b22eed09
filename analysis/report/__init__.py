"""One page of everything that a sweep shows."""
