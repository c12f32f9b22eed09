"""What the noise of the seeds allows to say: the block design, and many comparisons at once."""
