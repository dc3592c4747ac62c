import numpy as np
import pytest
from matplotlib.figure import Figure

from cal_ratio_trainer.evaluation.histograms import main_histograms
from cal_ratio_trainer.evaluation.ks import overtraining
from cal_ratio_trainer.evaluation.summary import evaluate_test_sample
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.plotting.overtraining import draw_train_and_test
from tests.factories.scored_jets import jets_on_signal_output, plausible_jets

from .recording import final, legend_texts, legend_title


def test_lines_are_train_points_are_test_and_below_is_their_difference_over_its_error() -> None:
    train, test = plausible_jets(2000, 1), plausible_jets(1000, 2)
    found = overtraining(train, test)
    drawings = final(evaluate_test_sample(test, train=train), "train_and_test")
    assert [each.name for each in drawings] == [
        f"{output}_predictions_train_and_test" for output in ("qcd", "sig", "bib")
    ]
    axes, below = Figure().subplots(2, sharex=True)
    draw_train_and_test(axes, below, *drawings[1].content)
    of_test, of_train = main_histograms(test).linear[1], found.train.linear[1]
    (contents, errors), (trained, train_errors) = of_test["sig"].normalised(), of_train["sig"].normalised()
    line = axes.patches[0].get_data().values
    points = axes.containers[0].lines[0].get_ydata()
    assert list(line) == pytest.approx([value or np.nan for value in trained], nan_ok=True)
    assert list(points) == pytest.approx(list(contents[contents > 0]))
    some = (errors > 0) | (train_errors > 0)
    contents, errors, trained, train_errors = (each[some] for each in (contents, errors, trained, train_errors))
    pulls = (trained - contents) / np.hypot(errors, train_errors)
    np.testing.assert_allclose(below.lines[0].get_ydata(), pulls.clip(-5, 5))
    assert legend_title(axes)[0] == "lines: 2,000 jets trained on; points: 1,000 test jets"
    comparison = found.distance(Label.SIGNAL, Label.SIGNAL)
    assert legend_texts(axes)[0] == (
        f"Signal: {comparison.distance:.3f} ({comparison.reference.mean:.3f} ± {comparison.reference.spread:.3f})"
    )


@pytest.mark.parametrize("signal", [[], [0.9]])
def test_a_class_without_jets_is_unknown(signal: list[float]) -> None:
    jets = jets_on_signal_output(signal, [], [])
    for drawing in final(evaluate_test_sample(jets, train=jets), "train_and_test"):
        axes, below = Figure().subplots(2, sharex=True)
        drawing.draw(axes, below, *drawing.content)
        assert legend_texts(axes)[1:] == ["QCD: unknown", "BIB: unknown"]
