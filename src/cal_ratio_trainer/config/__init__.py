"""Settings of the commands: frozen models with their defaults; YAML files and flags change them."""
