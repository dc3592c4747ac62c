"""Networks as files that other programs read: Keras files. Knows the network's shape and weights, not how it is run."""
