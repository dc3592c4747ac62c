"""The command line: one file a command; each parses, validates, makes one library call and says what was done."""
