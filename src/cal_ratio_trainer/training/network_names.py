"""How a user names a network: a run, or one of its epochs, or a file."""

from pathlib import Path

from cal_ratio_trainer.training.run_directory import RunDirectory, RunError, find_run

NEWEST = "last"


def network_file(name: str, output_path: Path) -> Path:
    """The .keras file that a user means.

    Args:
        name: 'model/3' or 'model/3/last' for the newest weights of run 3, 'model/-1' for the newest run, 'model/3/12'
            for epoch 12 of run 3, or the path of a .keras file.
        output_path: the folder that holds all runs.

    Raises:
        RunError: there is no such run or epoch; names those that are there.
    """
    if name.endswith(".keras"):
        return Path(name)
    model, *numbers = name.strip("/").split("/")
    if len(numbers) not in (1, 2) or not _is_number(numbers[0]):
        raise RunError(
            f"{name} is no network: give NAME/RUN, NAME/RUN/EPOCH or a .keras file, e.g. default/0 or default/0/12"
        )
    run = find_run(output_path, model, int(numbers[0]))
    epoch = numbers[1] if len(numbers) == 2 else NEWEST
    file = run.path / "keras" / "final_model.keras" if epoch == NEWEST else _weights_of(run, epoch)
    if not file.is_file():
        raise RunError(f"run {run.name} has no weights of {_epoch_in_words(epoch)}; kept are {_kept(run)}")
    return file


def _weights_of(run: RunDirectory, epoch: str) -> Path:
    if not epoch.isdecimal():
        raise RunError(f"{epoch} is no epoch; give a number or {NEWEST}")
    return run.weights_file(int(epoch))


def _kept(run: RunDirectory) -> str:
    stem = run.weights_file(0).stem.removesuffix("0")
    numbers = [path.stem.removeprefix(stem) for path in (run.path / "keras").glob(f"{stem}*.keras")]
    return ", ".join(sorted((n for n in numbers if n.isdecimal()), key=int)) or "none yet"


def _epoch_in_words(epoch: str) -> str:
    return "any epoch" if epoch == NEWEST else f"epoch {epoch}"


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal()
