"""Flat frames of the earlier program, read and written."""
