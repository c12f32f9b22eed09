"""Where run folders lie: on this machine or mirrored from an object store, with one driver each."""
