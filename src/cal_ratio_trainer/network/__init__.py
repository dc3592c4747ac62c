"""The network: constituent branches with their recurrence, the classifier, the adversary. Knows jets, not files."""
