"""Settings of the commands: one frozen pydantic model per command, with defaults, packaged profiles and YAML files.

`base` has what several commands share, `loading` merges defaults, YAML files and flags, and explains all mistakes at
once. Not here: options of the command line (`cli`), and what a command does with its settings.
"""
