"""`cr_trainer convert ...`."""

from cal_ratio_trainer.cli.main import convert_group

command = convert_group()
