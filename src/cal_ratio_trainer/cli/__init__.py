"""Command line: each command turns options into settings, makes one call of the public API and prints the result.

`main` finds the command and ends mistakes in one sentence, `options` makes options of settings. Not here: settings and
their checks (`config`), and any work on data.
"""
