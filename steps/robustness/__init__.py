"""What manipulations of recordings cost, and whether groups of recordings differ, as a detector sees them."""
