"""Reports: what is said about trainings and data, for people."""
