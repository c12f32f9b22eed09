"""Files that survive a kill: written whole, locked, with checksums; what is said of a fault."""
