"""Files that the figures of a run are drawn from: score histograms of an epoch, metrics, importance of the inputs."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from cal_ratio_trainer.config.training import MainPart
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.evaluation.histograms import ScoreHistograms, control_histograms, main_histograms
from cal_ratio_trainer.evaluation.importance import Importances
from cal_ratio_trainer.evaluation.ks import ControlRegionKs, KsComparison, KsReference, OutputKs, PtRange
from cal_ratio_trainer.evaluation.plain import from_plain, to_plain
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.files.atomic import write_text
from cal_ratio_trainer.files.json_text import read_json
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.jets.metadata import LEGACY_SCALING, Scaling

_KS, _MAIN_PART = "ks", "main_part"


@dataclass(frozen=True)
class EpochHistograms:
    """Data that the figures of an epoch are drawn from.

    Attributes:
        histograms: of a part of the main jets under 'main'; of the control validation part under 'val_adversary' and,
            for the pt ranges, 'val_adversary_lowPt', '_midPt', '_highPt'; 'main' alone without control region.
        ks: data and MC in the control validation part; None without control region, and in files of the first versions.
        main_part: part of the main jets; files of earlier versions, which do not say it, hold the test part.
    """

    histograms: Mapping[str, ScoreHistograms]
    ks: ControlRegionKs | None
    main_part: MainPart = "validation"

    def write(self, path: Path) -> None:
        """Keeps them as JSON, complete or not at all."""
        plain: dict[str, Any] = {name: histogram.to_dict() for name, histogram in self.histograms.items()}
        if self.ks is not None:
            plain[_KS] = to_plain(self.ks)
        plain[_MAIN_PART] = self.main_part
        write_text(path, json.dumps(plain) + "\n")

    @classmethod
    def read(cls, path: Path) -> "EpochHistograms":
        """The inverse of `write`.

        Raises:
            InputFileError: there is no such file, or it is damaged.
        """
        try:
            plain = read_json(path, bad_numbers=True)
            ks, main_part = plain.pop(_KS, None), plain.pop(_MAIN_PART, "test")
            histograms = {name: ScoreHistograms.from_dict(content) for name, content in plain.items()}
            if main_part not in get_args(MainPart):
                raise ValueError(f"no such part of the jets: {main_part!r}")
            return cls(histograms, None if ks is None else from_plain(ControlRegionKs, ks), main_part)
        except FileNotFoundError as error:
            raise InputFileError(path, "no such histograms of an epoch") from error
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            raise InputFileError(path, f"is not a complete file of histograms ({error})") from error

    def with_ks_of(self, row: Mapping[str, float], pt_ranges: tuple[PtRange, ...]) -> "EpochHistograms":
        """The same with the K-S distances of the epoch's row of the history, where the file has none."""
        return self if self.ks is not None else replace(self, ks=ks_of_row(row, pt_ranges))


def histograms_of(
    main: ScoredJets, control: ScoredJets, ks: ControlRegionKs, main_part: MainPart = "validation"
) -> EpochHistograms:
    """The histograms of jets that a network has scored.

    Args:
        main: signal, QCD and BIB jets.
        control: jets of the control region; empty for a training without one, which has no such histograms.
        ks: data and MC in it; its pt ranges have histograms of their own.
        main_part: part of the main jets that these are.
    """
    if not len(control):
        return EpochHistograms({"main": main_histograms(main)}, None, main_part)
    histograms = {"main": main_histograms(main), "val_adversary": control_histograms(control)}
    for pt_range in ks.pt_ranges:
        inside = (control.scaled_pt >= pt_range.low) & (control.scaled_pt < pt_range.high)
        histograms[f"val_adversary_{pt_range.name}Pt"] = control_histograms(control, inside)
    return EpochHistograms(histograms, ks, main_part)


def ranges_of(edges: Sequence[float], scaling: Scaling | None = None) -> tuple[PtRange, ...]:
    """The three ranges of scaled jet pt between 0, two edges and infinity, with what they are in GeV.

    Args:
        edges: two, rising, scaled. [1]
        scaling: of the file; None for 0-500 GeV.

    >>> [range_.gev for range_ in ranges_of([0.25, 0.5])]
    [(0.0, 125.0), (125.0, 250.0), (250.0, inf)]
    """
    scaling = scaling or LEGACY_SCALING
    width = scaling.max_jet_pt - scaling.min_jet_pt
    bounds = (0.0, *edges, math.inf)
    names = ("low", "mid", "high")
    return tuple(
        PtRange(name, low, high, (scaling.min_jet_pt + low * width, scaling.min_jet_pt + high * width))
        for name, low, high in zip(names, bounds[:-1], bounds[1:], strict=True)
    )


def ks_of_row(row: Mapping[str, float], pt_ranges: tuple[PtRange, ...]) -> ControlRegionKs | None:
    """The distances of an epoch from its row of the history; None where they are not in it."""

    def comparison(name: str) -> KsComparison:
        reference = KsReference(row[f"{name}_expected"], row[f"{name}_spread"], row[f"{name}_critical"])
        return KsComparison(row[name], reference)

    try:
        outputs = tuple(
            OutputKs(label, tuple(comparison(f"ks_{label.output}_{each.name}") for each in pt_ranges))
            for label in Label
        )
        mc, data = (tuple(row[f"ks_{each.name}_{kind}"] for each in pt_ranges) for kind in ("mc", "data"))
    except KeyError:
        return None
    return ControlRegionKs(pt_ranges, outputs, mc, data)


def write_evaluation(file: Path, epoch: int, figures: TestFigures) -> None:
    """Keeps the figures of merit of an epoch's network on the test part, complete or not at all."""
    write_text(file, json.dumps({"epoch": epoch, "figures": figures.to_dict()}) + "\n")


def read_evaluation(file: Path) -> tuple[int, TestFigures]:
    """The epoch that was evaluated last, and its figures of merit.

    Raises:
        InputFileError: there is no such file, or it is damaged.
    """
    try:
        plain = read_json(file, bad_numbers=True)
        return int(plain["epoch"]), TestFigures.from_dict(plain["figures"])
    except FileNotFoundError as error:
        raise InputFileError(file, "no such figures of merit; the run was not evaluated") from error
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise InputFileError(file, f"is not a complete file of figures of merit ({error})") from error


def write_importance(file: Path, network: str, found: Importances) -> None:
    """Keeps the permutation importance of the inputs of a network of a run, complete or not at all."""
    write_text(file, json.dumps({"network": network, **to_plain(found)}, indent=1) + "\n")


def read_importance(file: Path) -> tuple[str, Importances]:
    """Name of a network of a run, and the permutation importance of its inputs.

    Raises:
        InputFileError: there is no such file, or it is damaged.
    """
    try:
        plain = read_json(file, bad_numbers=True)
        return str(plain["network"]), from_plain(Importances, plain)
    except FileNotFoundError as error:
        raise InputFileError(file, "no such file; 'cr_trainer analyze --importance' makes it") from error
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise InputFileError(file, f"is no complete file of importances ({error})") from error
