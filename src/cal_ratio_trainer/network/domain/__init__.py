"""Methods that make the network's outputs agree between data and simulation; each module adds one (see `base`)."""
