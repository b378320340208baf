"""A data dir with features or audio -> network inputs of one size, in batches, from memory, files or shards."""
