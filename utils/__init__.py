"""What knows Kaldi's files, confs and jobs, and nothing of speech."""
