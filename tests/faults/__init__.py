"""Faults done for real: damaged files, killed commands, full disks, servers with bad habits."""
