"""Score files and keys -> figures of all trials, of each attack, speaker, duration and environment."""
