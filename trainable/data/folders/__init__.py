"""A data set of one's own: images and masks, described by a file or known by their layout."""
