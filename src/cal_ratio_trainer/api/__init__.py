"""The public functions: one for each command, with the settings of the command as keyword arguments.

`commands` and `training` have the functions, `arguments` their signatures, `run` the run that `train` and `open_run`
return. Users import them from `cal_ratio_trainer` itself, which loads them when they are first used.
"""
