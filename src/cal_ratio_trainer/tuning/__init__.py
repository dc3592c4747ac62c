"""Search for settings of a training by two objectives, with Optuna: `cr_trainer tune`.

A trial is an ordinary run. `objectives` says how good an epoch is and which trial is recommended, `study` keeps the
trials in a file that several processes share, and `trial` trains one.
"""
