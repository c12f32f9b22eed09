"""Images and label maps of a config: decoded once, cut, augmented and put into batches."""
