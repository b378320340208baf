"""What knows ASVspoof: download, protocols to data directories, the mini corpus."""
