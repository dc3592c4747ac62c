"""`cr_trainer doctor`."""

import click

import cal_ratio_trainer as crt
from cal_ratio_trainer.cli.main import EXIT_FAILED_PARTS
from cal_ratio_trainer.cli.options import SettingsCommand
from cal_ratio_trainer.config.runs import DoctorSettings


def run(settings: DoctorSettings, as_json: bool) -> int:
    """Prints the examination of the installation; returns 1 where a check failed."""
    found = crt.doctor(settings)
    click.echo(found.as_json() if as_json else found.as_text())
    return 0 if found.is_well else EXIT_FAILED_PARTS


command = SettingsCommand(
    name="doctor",
    help="Check this installation: versions, devices, engines, memory, folders, and a training step that is compared "
    "with PyTorch's own operations. The exit status is 0 if all checks pass. Include the output in bug reports; "
    "it names no users or hosts, except in the paths of folders.",
    settings=DoctorSettings,
    run=run,
    options=(click.Option(["as_json", "--json"], is_flag=True, help="Print the result as JSON, for programs."),),
).build()
