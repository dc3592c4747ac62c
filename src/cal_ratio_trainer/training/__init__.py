"""Training: setup, epochs, steps, several processes, checkpoints, fold sets; from settings to a run folder."""
