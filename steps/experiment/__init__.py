"""The folders of exp/: their names and files."""
