"""What steps share: levels, filters, recordings of a data dir, masks."""
