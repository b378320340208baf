"""What survives laundering, and whether recordings drift: manipulations and groups of recordings, as detectors see them."""
