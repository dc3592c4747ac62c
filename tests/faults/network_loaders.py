"""Damaged network files: Keras files of all forms and frugally-deep JSON.

The process that reads HDF5 data may crash: what counts is what the caller makes of it.
"""

import io
import zipfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import h5py

from cal_ratio_trainer.formats import hdf5_reader
from cal_ratio_trainer.formats.fdeep_file import Flavour
from cal_ratio_trainer.formats.keras_file import WEIGHTS, keras_model_bytes
from cal_ratio_trainer.formats.network_file import read_own_network
from cal_ratio_trainer.formats.registry import read_network
from cal_ratio_trainer.formats.safetensors_file import safetensors_bytes
from cal_ratio_trainer.network.shape import NetworkShape, branch_shape
from cal_ratio_trainer.runs.earlier_run import read_history
from tests.factories.hdf5_reader import ForkingReader
from tests.faults.campaign import Loader
from tests.faults.damage import damaged_text, damaged_zip
from tests.formats.earlier_files import (
    fdeep_file,
    keras_2_config,
    keras_2_zip,
    legacy_hdf5,
    numbered_hdf5,
    zipped,
)
from tests.formats.numpy_network import random_weights

_SHAPE = NetworkShape(
    (branch_shape("clusters", (4, 3), 2), branch_shape("tracks", (3,), 2), branch_shape("muon_segments", (3,), 2)),
    hidden=(5, 4),
)
_WEIGHTS = random_weights(_SHAPE, seed=1)


@cache
def _reader() -> ForkingReader:
    return ForkingReader(cpu_s=1)  # a shorter timeout for data that are read without end


def _made(content: Callable[[], bytes], name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        file = folder / name
        file.write_bytes(content())
        return file

    return make


def _read_ours(file: Path) -> None:
    hdf5_reader._run_reader = _reader()
    read_own_network(file)


def _read_foreign(file: Path) -> None:
    hdf5_reader._run_reader = _reader()
    read_network(file)


def _read_guarded_weights(file: Path) -> object:
    """Weights of a file that protects them with a hash."""
    return {name: values.tobytes() for name, values in read_network(file).weights.items()}


def _read_history(file: Path) -> None:
    read_history(file, ("ks_qcd_hist", "original_lossf"))


def _newest_form(content: bytes) -> bytes:
    """The same HDF5 data in the structures of the newest version of the format, packed."""
    buffer = io.BytesIO()
    with h5py.File(io.BytesIO(content), "r") as old, h5py.File(buffer, "w", libver="latest") as new:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                copied = new.create_dataset(name, data=item[()], chunks=item.shape, compression="gzip", fletcher32=True)
            else:
                copied = new.require_group(name)
            copied.attrs.update(item.attrs)

        old.visititems(copy)
    return buffer.getvalue()


def _keras_in_newest_hdf5() -> bytes:
    with zipfile.ZipFile(io.BytesIO(keras_model_bytes(_SHAPE, _WEIGHTS))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    return zipped(parts | {WEIGHTS: _newest_form(parts[WEIGHTS])})


NETWORK_LOADERS: dict[str, Loader] = {
    "keras of ours": Loader(
        _made(lambda: keras_model_bytes(_SHAPE, _WEIGHTS), "network.keras"), _read_ours, damaged_zip
    ),
    "safetensors of ours": Loader(
        _made(lambda: safetensors_bytes(_SHAPE, _WEIGHTS, "a" * 32, 1), "network.safetensors"), _read_guarded_weights
    ),
    "keras in newest HDF5": Loader(_made(_keras_in_newest_hdf5, "network.keras"), _read_ours, damaged_zip),
    "keras imported": Loader(
        _made(lambda: keras_model_bytes(_SHAPE, _WEIGHTS), "network.keras"), _read_foreign, damaged_zip
    ),
    "keras 2 zip": Loader(_made(lambda: keras_2_zip(_SHAPE, _WEIGHTS), "network.keras"), _read_foreign, damaged_zip),
    "keras 2 model": Loader(
        _made(lambda: legacy_hdf5(_SHAPE, _WEIGHTS, keras_2_config(_SHAPE)), "network.h5"), _read_foreign
    ),
    "keras 2 weights": Loader(_made(lambda: legacy_hdf5(_SHAPE, _WEIGHTS), "network.hdf5"), _read_foreign),
    "numbered weights": Loader(_made(lambda: numbered_hdf5(_SHAPE, _WEIGHTS), "network.h5"), _read_foreign),
    **{
        f"frugally-deep of {flavour}": Loader(
            _made(partial(fdeep_file, _SHAPE, _WEIGHTS, flavour), "network.json"),
            _read_guarded_weights,
            damaged_text,
        )
        for flavour in Flavour
    },
    "earlier history": Loader(
        _made(
            lambda: b'{"ks_qcd_hist": [0.9, NaN, 0.3], "original_lossf": [1.5, 1.0, 0.5]}', "history_checkpoint.json"
        ),
        _read_history,
        damaged_text,
    ),
}
