"""Networks on the digits: double descent with wrong labels and none without, and what the frames hold."""

import numpy as np
import pandas as pd
import pytest
import torch

from interp import ConfigError
from interp.linear import digits


@pytest.fixture(scope="module")
def by_width():
    return digits.train_digits((6, 16, 64), 600, 0.2, epochs=1_200, seeds=5, records=10, progress=False)


def test_with_wrong_labels_the_error_at_the_threshold_is_above_both_sides(by_width):
    """By more than the error bars of both; 16 is where the training error is all but gone."""
    narrow, threshold, wide = digits.over_seeds(by_width, "width").itertuples()
    assert threshold.train_error < 0.03 < narrow.train_error
    for side in (narrow, wide):
        assert threshold.test_error - threshold.standard_error > side.test_error + side.standard_error


def test_without_wrong_labels_there_is_no_peak():
    frame = digits.train_digits((6, 16, 128), 600, 0.0, epochs=400, seeds=5, records=10, progress=False)
    found = digits.over_seeds(frame, "width")
    assert found["test_error"].is_monotonic_decreasing
    assert found["test_error"].iloc[-1] < 0.05


def test_the_frame_holds_every_network_and_epoch(by_width):
    frame = by_width
    assert list(frame) == ["width", "samples", "label_noise", "seed", "epoch", "train_error", "test_error"]
    epochs = sorted(frame["epoch"].unique())
    assert (epochs[0], epochs[1], epochs[-1]) == (0, 1, 1_200)
    assert len(frame) == 3 * 5 * len(epochs)
    assert frame[frame["epoch"] == 0]["test_error"].between(0.75, 1).all()  # chance is nine in ten
    one = frame[(frame["width"] == 16)]
    along = digits.over_seeds(one, "epoch")
    last = one[one["epoch"] == 1_200]["test_error"]
    assert along["test_error"].iloc[-1] == pytest.approx(last.mean())
    assert along["standard_error"].iloc[-1] == pytest.approx(last.std(ddof=1) / 5**0.5)


def test_exactly_the_share_of_labels_is_wrong_and_test_images_are_never_trained_on():
    images, labels = digits._images()
    known = {image.numpy().tobytes(): int(label) for image, label in zip(images, labels, strict=True)}
    tested = {image.numpy().tobytes() for image in images[-digits.TEST_IMAGES :]}
    X, y, _ = digits._drawn(images, labels, 4, 300, 0.2, 3)
    shifts = set()
    for seed in range(3):
        given = [known[image.numpy().tobytes()] for image in X[seed]]
        shifts |= {(int(label) - own) % 10 for label, own in zip(y[seed], given, strict=True)}
        wrong = sum(known[image.numpy().tobytes()] != int(label) for image, label in zip(X[seed], y[seed], strict=True))
        assert wrong == 60
        assert not tested & {image.numpy().tobytes() for image in X[seed]}
    assert shifts == set(range(10))  # a wrong label may be any of the nine others
    assert len(known) == len(images)  # no image twice


def test_seeds_give_the_same_networks_again_and_weight_decay_counts():
    short = {"epochs": 20, "seeds": 2, "progress": False}
    first, again = (digits.train_digits(8, (50, 100), **short) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    assert digits.over_seeds(first, "samples")["samples"].tolist() == [50, 100]
    decayed = digits.train_digits(8, 50, weight_decay=5.0, **short)
    assert not np.allclose(decayed["train_error"], first[first["samples"] == 50]["train_error"])


def test_every_network_counts_at_its_own_last_epoch():
    short, long = (digits.train_digits(w, 50, epochs=e, seeds=2, progress=False) for w, e in ((4, 10), (8, 20)))
    found = digits.over_seeds(pd.concat([short, long]), "width")
    assert found["width"].tolist() == [4, 8]
    assert found["test_error"][0] == pytest.approx(short[short["epoch"] == 10]["test_error"].mean())


# ── ensembles ────────────────────────────────────────────────────────────────────────────────────────────────────

SHORT = {"samples": 80, "epochs": 40, "progress": False}


def test_one_member_is_the_network_of_its_seed():
    """The first network of a seed is that of train_digits; the others have its images and labels, and other weights."""
    alone = digits.over_seeds(digits.train_digits((3, 9), seeds=3, **SHORT), "width")
    found = digits.ensembles((3, 9), seeds=3, members=1, **SHORT)
    names = ["test_error", "train_error", "standard_error", "train_standard_error"]
    np.testing.assert_allclose(found[names], alone[names], rtol=1e-12)
    images, labels = digits._images()
    X, y, weights = digits._drawn(images, labels, 4, 30, 0.2, 2, 3)
    for seed in (0, 3):
        assert (X[seed] == X[seed : seed + 3]).all()
        assert (y[seed] == y[seed : seed + 3]).all()
        assert not torch.equal(weights[0][seed], weights[0][seed + 1])
    assert not torch.equal(X[0], X[3])


@pytest.mark.parametrize("of", ["probabilities", "logits"])
def test_groups_of_networks_answer_by_their_mean(of, monkeypatch):
    """Five networks of each of two seeds: two groups of two, with one left over, and one group of five."""
    seen = {}

    def keep(logits, labels, seeds, k, kind):
        seen["logits"], seen["labels"] = logits.detach().clone(), labels
        return of_groups(logits, labels, seeds, k, kind)

    of_groups = digits._of_groups
    monkeypatch.setattr(digits, "_of_groups", keep)  # the last answers are those to test images
    found = digits.ensembles(6, seeds=2, members=(1, 2, 5), of=of, **SHORT).set_index("members")
    logits, labels = seen["logits"].double().numpy(), seen["labels"].numpy()[0]
    outputs = logits if of == "logits" else np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    groups = {1: [[i] for i in range(5)], 2: [[0, 1], [2, 3]], 5: [[0, 1, 2, 3, 4]]}
    for k, of_k in groups.items():
        errors = [
            np.mean([(outputs[[5 * seed + i for i in group]].mean(0).argmax(-1) != labels).mean() for group in of_k])
            for seed in range(2)
        ]
        assert found["test_error"][k] == pytest.approx(np.mean(errors), rel=1e-12)
        assert found["standard_error"][k] == pytest.approx(np.std(errors, ddof=1) / 2**0.5, rel=1e-12)


def test_averaging_lowers_the_error_at_the_threshold():
    found = digits.ensembles(12, 300, epochs=300, seeds=3, members=(1, 4), progress=False).set_index("members")
    assert found["train_error"][1] < 0.1
    assert found["test_error"][4] + found["standard_error"][4] < found["test_error"][1] - found["standard_error"][1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"seeds": 1}, "seeds must be a whole number of at least 2; got 1"),
        ({"members": []}, "members must hold one or more sizes; got 0"),
        ({"members": [2, 0]}, "each size in members must be a whole number of at least 1; got 0"),
        ({"samples": 1_201}, "samples must be at most the 1,200 digits to train on; got 1201"),
        ({"members": 10**9}, "the hidden layers must fit into"),
    ],
)
def test_ensembles_that_cannot_be_trained_are_refused_in_a_sentence(settings, said):
    with pytest.raises(ConfigError, match=said):
        digits.ensembles(**settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"widths": 0}, "widths must be a whole number of at least 1; got 0"),
        ({"samples": 1_201}, "samples must be at most the 1,200 digits to train on; got 1201"),
        ({"label_noise": -0.1}, "label_noise must be a finite number of at least 0 and of at most 1; got -0.1"),
        ({"label_noise": 1.1}, "of at most 1; got 1.1"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1; got 0"),
        ({"seeds": 0}, "seeds must be a whole number of at least 1; got 0"),
        ({"learning_rate": 0.0}, r"learning_rate must be a finite number above 0 .*; got 0.0"),
        ({"weight_decay": -1.0}, r"weight_decay must be a finite number of at least 0 .*; got -1"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(settings, said):
    with pytest.raises(ConfigError, match=said):
        digits.train_digits(**settings)


def test_an_axis_that_is_mixed_with_another_is_refused():
    noisy, clean = (digits.train_digits((2, 3), 50, noise, epochs=2, progress=False) for noise in (0.2, 0.0))
    with pytest.raises(ConfigError, match="one value of width along samples; got several"):
        digits.over_seeds(noisy, "samples")
    with pytest.raises(ConfigError, match="one value of label_noise along width; got several"):
        digits.over_seeds(pd.concat([noisy, clean]), "width")
    with pytest.raises(ConfigError, match="by must be width, samples or epoch; got 'seed'"):
        digits.over_seeds(noisy, "seed")
    with pytest.raises(ConfigError, match="must have the columns width, epoch"):
        digits.over_seeds(pd.DataFrame({"samples": [1]}), "samples")
