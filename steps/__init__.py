"""One program per stage, and beside them the packages that they are made of."""
