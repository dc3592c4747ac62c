"""Command line: one file per command, which parses, validates, calls one public function and prints the result."""
