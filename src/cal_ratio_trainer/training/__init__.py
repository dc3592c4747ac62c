"""Training: setup, epochs, steps, several processes, checkpoints, sets of networks; from settings to a run folder."""
