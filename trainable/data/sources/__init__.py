"""The layouts of data sets that can be read, and the one that is generated."""
