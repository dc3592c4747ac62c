"""Search for settings of a training by two objectives, with Optuna: `cr_trainer tune`.

A trial is an ordinary run. `objectives` rates epochs and recommends a trial, `plan` holds what is searched, `study`
keeps the trials in a file that several processes share, and `tune` trains them.
"""
