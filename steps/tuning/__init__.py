"""Tuning a training's keys on the development set: what may vary, the trials and their workers, what is told of
them."""
