"""Settings of the commands: one frozen model a command, defaults in packaged YAML, files and flags on top."""
