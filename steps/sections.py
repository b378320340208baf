"""The sections of a run's configuration, as `--set SECTION.KEY=VALUE` and exp/*/conf.yaml name them."""

SECTIONS = ("frontend", "augment", "model", "train")

# Keys of `train` that cannot change the weights of a training that ends: it may go on with other values.
WITHOUT_EFFECT = ("num_workers", "diverged_above")
