"""What survives laundering: manipulations of an evaluation set, a detector's scores of each, and what they cost."""
