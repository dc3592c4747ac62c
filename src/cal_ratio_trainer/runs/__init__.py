"""A run on disk: its folder, record, history and networks; fold sets; runs imported from the earlier program."""
