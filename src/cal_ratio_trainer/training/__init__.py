"""Training: data and their split, the sampler, the step, the loop, checkpoints, run folders."""
