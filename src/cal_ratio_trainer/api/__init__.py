"""The public functions: one for each command, with the settings of the command as keyword arguments.

`commands` and `training` have the functions and `arguments` their signatures; `train` and `open_run` return a
`runs.run.Run`. Results of the other functions are made in `reporting` and the packages below it. Users
import all of them from `cal_ratio_trainer` itself, which loads them when they are first used.
"""
