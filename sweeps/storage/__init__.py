"""Keep run folders: on this machine or mirrored from an object store, with one driver each."""
