"""The sections of a run's configuration, as `--set SECTION.KEY=VALUE` and exp/*/conf.yaml name them."""

SECTIONS = ("frontend", "augment", "model", "train")
