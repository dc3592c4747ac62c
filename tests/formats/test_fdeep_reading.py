"""frugally-deep files: hash and test jets protect their content, and both are checked."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.files.json_text import BadJson
from cal_ratio_trainer.formats.architecture import BadArchitecture
from cal_ratio_trainer.formats.fdeep_file import Flavour, decoded_floats, encoded_floats
from cal_ratio_trainer.formats.fdeep_reading import BadFdeepFile, network_from_fdeep
from cal_ratio_trainer.formats.stored_network import BadWeightsFile, StoredNetwork
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from tests.formats.damage import all_damages
from tests.formats.earlier_files import fdeep_file
from tests.formats.numpy_network import random_weights

BAD = (BadArchitecture, BadFdeepFile, BadJson, BadWeightsFile)
Content = dict[str, Any]


@pytest.fixture(scope="module", params=list(Flavour))
def good(request: pytest.FixtureRequest) -> Content:
    """Good file of each version."""
    content: Content = json.loads(fdeep_file(DEFAULT_SHAPE, random_weights(DEFAULT_SHAPE, seed=1), request.param))
    return content


def read(content: Content) -> StoredNetwork:
    """Network read from a file with this content."""
    return network_from_fdeep(json.dumps(content).encode())


def is_accepted(content: Content) -> bool:
    """True if a network is read from this content."""
    try:
        read(content)
    except BAD:
        return False
    return True


def test_every_damage_of_a_layer_is_refused(good: Content) -> None:
    damages = list(all_damages(good))
    assert len(damages) > 30
    assert [name for name, damage in damages if is_accepted(damage(good))] == []


def change_a_bit(content: Content, layer: str) -> Content:
    """Changes the lowest bit of one weight."""
    changed = copy.deepcopy(content)
    weights = decoded_floats(changed["trainable_params"][layer]["weights"])
    weights.view(np.uint32)[7] ^= 1
    changed["trainable_params"][layer]["weights"] = encoded_floats(weights)
    return changed


def test_one_bit_of_a_weight_is_caught_by_the_hash(good: Content) -> None:
    for layer in good["trainable_params"]:
        with pytest.raises(BadFdeepFile, match=r"have the hash [0-9a-f]{64}, but it says '[0-9a-f]{64}': the file was"):
            read(change_a_bit(good, layer))


def test_test_jets_catch_what_the_hash_was_made_to_fit(good: Content) -> None:
    """The hash does not see the expected scores."""
    changed = copy.deepcopy(good)
    (output,) = changed["tests"][2]["outputs"]
    scores = decoded_floats(output["values"])
    output["values"] = encoded_floats(scores + np.array([0.001, -0.001, 0]))
    with pytest.raises(BadFdeepFile, match=r"gives other scores for 1 of its 4 test jets, by up to 0\.001"):
        read(changed)


def test_a_file_without_test_jets_is_taken_with_a_note(good: Content) -> None:
    found = read({name: value for name, value in good.items() if name != "tests"})
    assert found.notes == ("The file has no test jets, so its scores could not be checked.",)
    assert read(good).notes == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("hash"), "but it says None"),
        (lambda c: c.pop("trainable_params"), "has no trainable_params"),
        (lambda c: c["trainable_params"].pop("lstm_1"), "the hash|the weights of layer 'lstm_1' are missing"),
        (
            lambda c: c["trainable_params"].update(extra={}),
            "weights of a layer 'extra', which the network does not have",
        ),
        (lambda c: c["trainable_params"].update(dropout={}), "weights of a layer 'dropout'"),
        (lambda c: c["trainable_params"]["lstm"].pop("bias"), r"layer 'lstm' has the weights .*, expected \['bias'"),
        (lambda c: c["trainable_params"].update(lstm=[1]), "layer 'lstm' has the weights"),
        (lambda c: c["trainable_params"]["lstm"].update(bias="AAAA"), "layer 'lstm': str where a list of strings"),
        (lambda c: c["trainable_params"]["lstm"].update(bias=["!"]), "layer 'lstm': no base64"),
        (lambda c: c["trainable_params"]["lstm"].update(weights=["AAAA"]), "layer 'lstm': "),
        (lambda c: c["trainable_params"]["dense_1"].update(weights=["AACAPw=="]), "layer 'dense_1': "),
        (lambda c: c["input_shapes"].reverse(), "input_shapes is .*, expected"),
        (lambda c: c.update(output_shapes=[[4]]), r"output_shapes is \[\[4\]\], expected \[\[3\]\]"),
        (lambda c: c.update(image_data_format="channels_first"), "image_data_format is 'channels_first'"),
        (lambda c: c.update(tests={}), "tests is no list"),
        (lambda c: c.update(tests=[1]), "a test jet has no inputs"),
        (
            lambda c: c["tests"][0]["inputs"].pop(),
            r"of the shapes \[\[30, 12\], \[20, 10\], \[30, 6\], \[3\]\] and",
        ),
        (
            lambda c: c["tests"][0]["inputs"][0].update(shape=[12, 30]),
            r"of the shapes \[\[12, 30\]",
        ),
        (
            lambda c: c["tests"][0]["inputs"][0].update(values=["AACAPw=="]),
            r"1 numbers that is not of its shape \[30, 12\]",
        ),
        (lambda c: c["tests"][0]["inputs"][3].update(values=["AADAfwAAwH8AAMB/"]), "numbers that are not finite"),
        (lambda c: c.update(architecture=[]), "the config has no class_name"),
        (lambda c: c["architecture"].update(class_name="Sequential"), "describes a 'Sequential' model"),
    ],
)
def test_what_contradicts_itself_is_refused(change: Callable[[Content], Any], said: str, good: Content) -> None:
    changed = copy.deepcopy(good)
    change(changed)
    with pytest.raises(BAD, match=said):
        read(changed)


def test_weights_that_are_not_finite_are_refused_by_their_layer(good: Content) -> None:
    changed = copy.deepcopy(good)
    changed["trainable_params"]["dense_2"]["bias"] = encoded_floats(np.full(64, np.nan, np.float32))
    with pytest.raises(BAD, match="the hash"):
        read(changed)


def test_a_flipped_byte_anywhere_is_refused_or_changes_no_score(good: Content) -> None:
    """Bytes drawn at random all over the file, text and numbers; seeds 0 to 299."""
    content = json.dumps(good).encode()
    expected = read(good)
    accepted = 0
    for seed in range(300):
        draw = random.Random(seed)
        position, value = draw.randrange(len(content)), draw.randrange(256)
        damaged = content[:position] + bytes([value]) + content[position + 1 :]
        try:
            found = network_from_fdeep(damaged)
        except BAD:
            continue
        accepted += 1
        assert found.shape == expected.shape
        assert all(np.array_equal(found.weights[name], values) for name, values in expected.weights.items())
    assert accepted < 30
