"""The page of a run in a real browser: it shows the library's numbers, follows its slider, and runs nothing foreign."""

import copy
import csv
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import interp
from interp import CheckpointError, ConfigError, Model, Recorder, Task, TrainConfig
from interp.measures.embedding import circle_directions, embedding_norms, on_circle, unembedding_norms
from interp.measures.logits import correct_logit, cos_coefficients_of, kept, table
from interp.measures.losses import cross_entropies, right
from interp.measures.neurons import neuron_frequencies, purity, shares_of
from interp.networks import OneHiddenLayer, Transformer
from interp.reports import content
from interp.reports.live import LivePage
from interp.reports.packing import as_bytes, as_json, script
from interp.runs.shipped import HOME
from interp.tasks.fourier import by_frequency
from interp.utils.threads import on
from tests import layouts
from tests.browsing import browser, opened, sideways, violations
from tests.conftest import SMALL
from tests.processes import interp as command, outside
from tests.subjects.test_model import small

STEPS = (0, 300, 700, 1_500)  # of the demo run, at which every plot is compared


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo run's page, and the run."""
    folder = tmp_path_factory.mktemp("report")
    run = interp.load_run(shutil.copytree(HOME, folder / "run", ignore=shutil.ignore_patterns("measures.parquet")))
    return run.report(progress=False).save(folder / "report.html"), run


@pytest.fixture
def page(chromium, demo):
    with opened(chromium, demo[0]) as page:
        yield page


def go(page, step):
    page.evaluate(f"report.clock.goTo({step}); report.views.forEach((view) => view.showAll())")


def numbers(page, code):
    return np.array(page.evaluate(f"Array.from({code})"), dtype=float)


def downloaded(page, title):
    """The CSV behind a plot, as columns of numbers."""
    button = page.get_by_role("button", name=f"Download the numbers of “{title}” as CSV")
    page.wait_for_timeout(100)  # Chromium drops downloads of a page beyond ten a second without a word
    with page.expect_download() as download:
        button.click()
    with open(download.value.path(), newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    return {name: np.array([float(row[n] or "nan") for row in rows]) for n, name in enumerate(head)}


# ── the numbers ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_can_be_read_some_time_after_its_button_was_clicked(page):
    """A busy browser begins to read it late; a file that is gone by then is never saved."""
    page.evaluate("URL.make = URL.createObjectURL; URL.createObjectURL = (blob) => (window.made = URL.make(blob)); 0")
    saved = downloaded(page, "Norms of the embedding")
    text = page.evaluate("fetch(window.made).then((answer) => answer.text())")
    assert text.count("\n") == 1 + len(saved["k"])


def test_every_plot_shows_the_librarys_numbers_at_each_position(page, demo):
    """Float32 and seven digits: 1e-6 of the largest; maps of bytes: half of 1/254 of their range."""
    run = demo[1]
    keys = interp.progress_measures(run.at(1_500)).key_frequencies
    final = run.at(1_500).subject()
    for step in STEPS:
        go(page, step)
        subject = run.at(step).subject()
        exactly = {
            "Norms of the embedding": by_frequency(embedding_norms(subject)),
            "Norms of the neuron-logit map": by_frequency(unembedding_norms(subject)),
            "Cosine coefficients of the logits": cos_coefficients_of(subject),
        }
        for title, expected in exactly.items():
            found = list(downloaded(page, title).values())[1]
            assert found == pytest.approx(expected.numpy(), abs=1e-6 * float(expected.abs().max())), (title, step)
        shares = downloaded(page, "Neurons by frequency and share")
        assert shares["k"].tolist() == neuron_frequencies(shares_of(subject)).tolist()
        assert shares["share"] == pytest.approx(purity(shares_of(subject)).numpy(), abs=1e-6)
        circles = downloaded(page, "The numbers on their circles")
        for k in keys:
            points = on_circle(subject.W_E, circle_directions(final.W_E, k)).numpy()
            assert circles[f"cosine direction of k = {k}"] == pytest.approx(points[:, 0], abs=1e-6)
            assert circles[f"sine direction of k = {k}"] == pytest.approx(points[:, 1], abs=1e-6)
        losses = downloaded(page, "The loss of every pair")
        nats = cross_entropies(subject).flatten().clamp(min=1e-9).log10().numpy()
        half = (nats.max() - nats.min()) / 508 + 1e-6
        assert np.log10(losses["loss (nats)"]) == pytest.approx(nats, abs=half)
        assert losses["trained on"].tolist() == run.train_mask.flatten().int().tolist()
        shown = page.evaluate("[...document.querySelectorAll('[data-step]')].map((plot) => plot.dataset.step)")
        assert set(shown) == {str(step)}
        assert len(shown) >= 14


def test_attention_and_neurons_are_computed_in_the_page_as_the_network_does(page, demo):
    """From what each number adds: float32 sums in another order, 1e-6 of attention and 1e-5 of the largest neuron."""
    run = demo[1]
    chosen = page.evaluate("report.views[0].run.neurons")
    assert page.evaluate("'scores' in report.views[0].run.arrays && !('neurons' in report.views[0].run.arrays)")
    for step in STEPS:
        go(page, step)
        subject = run.at(step).subject()
        attention = downloaded(page, "Attention to a, over pairs")
        for h in range(subject.pattern.shape[2]):
            assert attention[f"head {h}"] == pytest.approx(subject.pattern[:, :, h, 0].flatten().numpy(), abs=1e-6)
        neurons = downloaded(page, "Neurons over pairs")
        for n in chosen:
            expected = subject.neurons[:, :, n].flatten().numpy()
            assert neurons[f"neuron {n}"] == pytest.approx(expected, abs=1e-5 * float(subject.neurons.max()))


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_new", "square"])
def test_the_pages_activations_are_torchs(page, activation):
    x = torch.linspace(-6, 6, 301)
    values = {"values": [0.0, *x.tolist(), *[0.0] * 302], "constant": [0.0], "activation": activation}
    found = page.evaluate(
        """([parts, p]) => {
            const rows = { ...parts, values: Float32Array.from([...parts.values.slice(0, p), ...Array(p).fill(0)]) };
            const all = report.arithmetic.neuronOverPairs(rows, null, 0, 1, 1, p);
            return Array.from({ length: p }, (_, a) => all[a * p]);
        }""",
        [values, 302],
    )
    expected = interp.networks.base.activation_function(activation)(torch.tensor([0.0, *x.tolist()]))
    assert found == pytest.approx(expected.tolist(), abs=2e-6)  # float32, and an error function good to 2e-8


def test_the_waves_of_a_pair_and_what_they_leave(page, demo):
    run = demo[1]
    keys = interp.progress_measures(run.at(1_500)).key_frequencies
    for step, a, b in ((300, 3, 11), (1_500, 22, 5)):
        go(page, step)
        for name, value in (("a", a), ("b", b)):
            page.get_by_label(f"{name} of the pair").fill(str(value))
        subject = run.at(step).subject()
        s = (a + b) % 23
        of_label = table(subject) - table(subject).mean(1, keepdim=True)
        found = downloaded(page, "The logits of one pair, wave by wave")
        largest = float(of_label.abs().max())
        for k in keys:
            assert found[f"k = {k}"] == pytest.approx(kept(of_label, [k])[s].numpy(), abs=1e-6 * largest)
        assert found["sum of waves"] == pytest.approx(kept(of_label, keys)[s].numpy(), abs=1e-5 * largest)
        span = float(of_label.max() - of_label.min())
        assert found["all that depends on a + b"] == pytest.approx(of_label[s].numpy(), abs=span / 508 + 1e-6 * largest)
        logits = subject.logits[a, b].double()
        rest = logits - logits.mean() - kept(of_label, keys)[s]
        note = page.locator("figure", has_text="wave by wave").locator(".note").inner_text()
        assert note.startswith(f"Pair ({a}, {b}): the right answer is {s}; the rest is ")
        said = float(note.split("the rest is ")[1].split(" ")[0].replace("−", "-"))
        every = subject.logits.double() - kept(of_label, keys)[run.task.labels]
        sizes = (every - every.mean(-1, keepdim=True)).square().mean(-1).sqrt()
        assert said == pytest.approx(float(rest.square().mean().sqrt()), abs=float(sizes.max()) / 508 + 1e-3)
    assert float(correct_logit(subject.logits, run.task.labels)[a, b]) > 0  # the pair's own logits are the right ones'


@pytest.mark.parametrize(("operation", "p"), [("subtract", 13), ("add", 12)])
def test_waves_of_differences_and_of_an_even_modulus(chromium, tmp_path, operation, p):
    """At p = 12 the frequency 6 has a cosine alone."""
    run = trained(tmp_path / "run", p=p, operation=operation)
    keys = interp.progress_measures(run.at(60)).key_frequencies
    assert p % 2 or p // 2 in keys
    file = run.report(progress=False).save(tmp_path / "report.html")
    with opened(chromium, file) as page:
        go(page, 60)
        subject = run.at(60).subject()
        of_label = table(subject) - table(subject).mean(1, keepdim=True)
        a, b = 3, 8
        page.evaluate(f"report.views[0].pair.set({a}, {b})")
        go(page, 60)
        found = downloaded(page, "The logits of one pair, wave by wave")
        s = (a - b if operation == "subtract" else a + b) % p
        largest = float(of_label.abs().max())
        drawn = [int(name[4:]) for name in found if name.startswith("k = ")]
        assert set(drawn) <= set(keys)
        for k in drawn:
            assert found[f"k = {k}"] == pytest.approx(kept(of_label, [k])[s].numpy(), abs=1e-6 * largest)
        assert found["sum of waves"] == pytest.approx(kept(of_label, keys)[s].numpy(), abs=1e-5 * largest)


def test_a_map_has_the_colour_of_its_value_where_its_pair_is(page, demo):
    go(page, 1_500)
    pattern = demo[1].at(1_500).subject().pattern[:, :, 0, 0]
    pixels = page.evaluate(
        """() => {
            const canvas = document.querySelector('canvas[aria-label="head 0, over pairs"]');
            return Array.from(canvas.getContext("2d").getImageData(0, 0, 23, 23).data);
        }"""
    )
    colours = np.array(pixels).reshape(23, 23, 4)[::-1]  # a upwards
    table_of = np.array(page.evaluate("Array.from(report.arithmetic.TABLE)"), dtype=np.uint32)
    level = np.rint(pattern.numpy() * 255).astype(int)
    near = np.stack([table_of[np.clip(level + off, 0, 255)] for off in (-1, 0, 1)])  # a value on the edge of two levels
    packed = colours[..., 0] | colours[..., 1] << 8 | colours[..., 2] << 16 | colours[..., 3] << 24
    assert (near == packed).any(0).all()


def test_what_is_shown_over_training(page, demo):
    run = demo[1]
    history, frame = run.history, interp.trajectory(run, progress=False)
    found = downloaded(page, "Loss")
    assert found["step"].tolist() == history["step"].tolist()
    assert found["test_loss"] == pytest.approx(history["test_loss"].to_numpy(), rel=1e-6)
    measured = downloaded(page, "Progress measures: losses")
    assert measured["excluded_loss"] == pytest.approx(frame["excluded_loss"].to_numpy(), rel=1e-6)
    assert measured["restricted_loss"] == pytest.approx(frame["restricted_loss"].to_numpy(), rel=1e-6)
    graduated = downloaded(page, "When each pair graduated")["graduated at step"]
    expected = interp.graduation(interp.trajectory(run, arrays=["answered"], progress=False)).steps.flatten()
    assert np.array_equal(graduated, expected, equal_nan=True)
    assert right(run.at(1_500).subject()).all()
    norms = downloaded(page, "Norms of W_E over training")
    at = np.stack([by_frequency(embedding_norms(run.at(step).subject())).numpy() for step in run.steps])
    assert norms["k = 3"] == pytest.approx(at[:, 2], rel=1e-6)


def test_words_at_the_top_are_the_phases(page, demo):
    phases = interp.phases(demo[1])
    text = page.locator(".summary").inner_text()
    for event in ("memorized", "circuit_formation_end", "generalized", "cleanup_end"):
        assert f"at step {getattr(phases, event):,}" in text
    assert f"{phases.grokking_delay:,} steps after it memorized" in text
    assert "a + b mod 23" in page.locator(".about").inner_text()


# ── moving about ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_click_on_a_curve_moves_the_slider_there(page, demo):
    steps = demo[1].steps
    for share in (0.2, 0.7):
        svg = page.locator("figure[aria-label='Loss'] svg[role=img]")
        box = svg.bounding_box()
        left, right = 62, box["width"] - 12
        x = left + share * (right - left)
        svg.click(position={"x": x, "y": 60})
        wanted = share * 1_500
        nearest = min(steps, key=lambda step: abs(step - wanted))
        assert page.evaluate("report.clock.step") == nearest
        assert page.locator("#step").inner_text() == f"step {nearest:,}"


def test_it_plays_to_the_end_and_stops(page, demo):
    steps = demo[1].steps
    page.evaluate(f"report.clock.goTo({steps[-3]})")
    page.locator("#play").click()
    assert page.locator("#play").inner_text() == "Pause"
    page.wait_for_function("!report.clock.playing", timeout=10_000)
    assert page.evaluate("report.clock.step") == steps[-1]
    assert page.locator("#play").inner_text() == "Play"
    page.locator("#play").click()  # from the end it begins again
    page.locator("#play").click()
    assert page.evaluate("report.clock.step") < steps[-1]


def test_the_keyboard_alone_reaches_everything(page, demo):
    reached = set()
    for _ in range(200):
        page.keyboard.press("Tab")
        name = page.evaluate(
            "(document.activeElement.getAttribute('aria-label') || document.activeElement.innerText || '').slice(0, 60)"
        )
        if page.evaluate("document.activeElement === document.body"):
            break
        reached.add(name)
    titles = page.evaluate("[...document.querySelectorAll('figure.plot h3')].map((title) => title.textContent)")
    assert len(titles) >= 17
    for title in titles:
        assert f"Download the numbers of “{title}” as CSV"[:60] in reached
    assert {"Play", "Checkpoint", "a of the pair", "b of the pair", "Table"} <= reached
    page.locator("#slider").focus()
    before = page.evaluate("report.clock.index")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("report.clock.index") == before - 2
    page.locator("figure[aria-label='Accuracy'] summary").focus()
    page.keyboard.press("Enter")
    page.locator("figure[aria-label='Accuracy'] td").first.wait_for(timeout=5_000)


def test_pointing_at_a_pair_in_one_map_shows_it_in_all(page):
    go(page, 1_500)
    canvas = page.locator('canvas[aria-label="head 1, over pairs"]')
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    a, b = 17, 4
    page.mouse.move(box["x"] + (b + 0.5) * box["width"] / 23, box["y"] + box["height"] * (1 - (a + 0.5) / 23))
    assert page.evaluate("[report.views[0].pair.a, report.views[0].pair.b]") == [a, b]
    values = page.locator(".map-value").all_inner_texts()
    assert len(values) >= 8
    assert all(text.startswith("(17, 4): ") for text in values)


def test_the_address_holds_the_step(chromium, demo):
    with opened(chromium, demo[0], at="#step=700") as page:
        assert page.evaluate("report.clock.step") == 700
        page.evaluate("report.clock.goTo(300)")
        page.wait_for_function("location.hash === '#step=300'")


def test_an_open_table_follows_the_slider(page, demo):
    go(page, 1_500)
    figure = page.locator("figure[aria-label='Norms of the embedding']")
    figure.locator("summary").click()
    figure.locator("td").first.wait_for(timeout=5_000)
    for step in (0, 700):
        go(page, step)
        shown = [float(text) for text in figure.locator("td:nth-child(2)").all_inner_texts()]
        expected = by_frequency(embedding_norms(demo[1].at(step).subject())).numpy()
        assert shown == pytest.approx(expected, rel=1e-3)  # four digits are shown


def test_only_what_is_in_sight_is_drawn_and_the_rest_when_it_comes_into_sight(page):
    assert page.locator("figure[aria-label='The path of the weights'][data-step]").count() == 0
    page.locator("figure[aria-label='The path of the weights']").scroll_into_view_if_needed()
    page.wait_for_selector("figure[aria-label='The path of the weights'][data-step]")


# ── for everybody, and safe ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_and_nothing_scrolls_sideways(chromium, demo, scheme):
    with opened(chromium, demo[0], scheme=scheme) as page:
        page.evaluate("report.views.forEach((view) => view.showAll())")
        page.locator("figure[aria-label='Accuracy'] summary").click()
        assert violations(page) == []
    for width in (360, 800):
        with opened(chromium, demo[0], width=width, scheme=scheme) as page:
            page.evaluate("report.views.forEach((view) => view.showAll())")
            page.locator("figure[aria-label='When each pair graduated'] summary").click()
            assert sideways(page) <= 0


def test_nothing_comes_from_elsewhere(demo):
    text = demo[0].read_text()
    assert "data:" not in text
    for address in ("http:", "https:", "//cdn"):
        assert address not in text.replace("http://www.w3.org/2000/svg", "")  # the name of SVG, which is not fetched


HOSTILE = '<img src=x onerror="globalThis.hit=1"><script>globalThis.hit=1</script>'


def test_names_that_hold_markup_are_text(chromium, tmp_path, small_run_path):
    name = HOSTILE.replace("/", "∕")  # a slash ends a folder's name
    run = shutil.copytree(small_run_path, tmp_path / name)
    broken = sorted((run / "checkpoints").iterdir())[1]
    broken.write_bytes(b"</script>" + HOSTILE.encode())
    with pytest.warns(UserWarning, match="step"):
        file = interp.report(run, progress=False).save(tmp_path / "report.html")
    with opened(chromium, file) as page:
        assert page.locator("h1").inner_text() == name
        assert page.locator("h1 img, footer img, .doubts img").count() == 0
        assert name in page.locator("footer").inner_text()
        assert page.evaluate("globalThis.hit") is None


def test_json_cannot_end_its_block_and_has_no_numbers_that_are_none():
    value = {"a": "</script><!--", "b": [math.nan, math.inf, 1.0], "c": np.float32(0.5), "d": "\u2028"}
    text = as_json(value)
    assert "<" not in text
    assert json.loads(text) == {"a": "</script><!--", "b": [None, None, 1.0], "c": 0.5, "d": "\u2028"}


def test_maps_as_bytes_are_right_to_half_a_level():
    maps = np.array([[[0.0, 1.0], [254.0, 100.4]], [[5.0, 5.0], [5.0, np.nan]]])
    packed = as_bytes(maps)
    assert packed.numbers.tolist() == [[[0, 1], [254, 100]], [[0, 0], [0, 255]]]
    assert (packed.low, packed.high) == ((0.0, 5.0), (254.0, 5.0))


def test_scripts_are_put_together_in_the_order_in_which_they_need_each_other():
    text = script("run.js")
    places = [text.index(f"const {name}_js = ") for name in ("elements", "scales", "lines", "views", "run")]
    assert places == sorted(places)
    assert "import " not in text.replace("imported", "")


# ── runs of every kind ───────────────────────────────────────────────────────────────────────────────────────────


def trained(folder, **settings):
    return interp.train(replace(SMALL, **settings), folder, progress=False)


def three_checkpoints(folder):
    return trained(folder, checkpoint_steps=(0, 30, 60))


def one_unreadable(folder):
    trained(folder)
    sorted((folder / "checkpoints").iterdir())[1].write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="step_"):
        return interp.load_run(folder)


def p_7(folder):
    return interp.train(
        TrainConfig(p=7, train_fraction=0.5, d_model=8, n_heads=2, d_mlp=8, steps=40, checkpoint_steps=(0, 20, 40)),
        folder, progress=False,
    )  # fmt: skip


def lost_again(folder):
    """The demo run, whose first weights stand once more at its end."""
    shutil.copytree(HOME, folder, ignore=shutil.ignore_patterns("measures.parquet"))
    first = interp.load_run(folder).at(0)
    for step in (1_600, 1_700):
        interp.runs.directory.write_checkpoint(folder, step, first.weights, first.task, first.config)
    return interp.load_run(folder)


def one_hidden_layer(folder):
    return interp.train(
        TrainConfig(p=13, train_fraction=0.5, network=OneHiddenLayer(d_embed=8, d_hidden=16), steps=20,
                    checkpoint_steps=(0, 10, 20)),
        folder, progress=False,
    )  # fmt: skip


def two_positions(folder):
    return interp.train(
        TrainConfig(p=13, train_fraction=0.5, network=Transformer(d_model=16, n_heads=2, d_mlp=24, n_ctx=2), steps=20,
                    checkpoint_steps=(0, 10, 20)),
        folder, progress=False,
    )  # fmt: skip


def quadratic(folder):
    return trained(folder, operation="quadratic")


def subtraction(folder):
    return trained(folder, operation="subtract")


def a_users_module(folder):
    net, task = small(), Task(11)
    mask = interp.split_mask(11, 0.5, 0)
    rec = Recorder(Model(net, task, mask, tokens="ab", neurons="4", W_E="0", W_L="5"), every=5, path=folder, keep=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    for step in range(11):
        rec(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(mask.nonzero()), task.labels[mask]).backward()
        optimizer.step()
    rec.finish(progress=False)
    return rec.run


def another_groups_file(folder):
    """The demo run in the layout of the published runs: one file of all its states."""
    run = interp.load_run(HOME)
    states = [layouts.paper(run.at(step).weights) for step in (0, 300, 1_500)]
    torch.save({"state_dicts": states, "epochs": [0, 300, 1_500]}, folder.with_suffix(".pth"))
    return interp.load_run(folder.with_suffix(".pth"), split=run.train_mask)


KINDS = {
    three_checkpoints: ["It does not generalize by step 60", "a + b mod 13"],
    one_unreadable: ["The checkpoint of step 20 cannot be read"],
    p_7: ["a + b mod 7"],
    lost_again: ["It loses what it learned at step 1,600", "At step 1,500 its key frequencies"],
    one_hidden_layer: ["one hidden layer", "Not drawn: the model has no attention"],
    two_positions: ["a + b mod 13"],
    quadratic: ["a² + ab + b² mod 13", "What it computes with is not known"],
    subtraction: ["a − b mod 13"],
    another_groups_file: ["a + b mod 23", "At step 1,500 its key frequencies", "423 of 529"],
    a_users_module: ["a network from elsewhere", "Not drawn: the model was given without pattern"],
}


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_page_of_every_kind_of_run_says_what_it_is(chromium, tmp_path, make):
    run = make(tmp_path / "run")
    file = run.report(progress=False).save(tmp_path / "report.html")
    with opened(chromium, file, width=360) as page:
        text = page.locator("main").inner_text()
        for words in KINDS[make]:
            assert words in text, text[:3_000]
        for step in (run.steps[0], run.steps[-1]):
            go(page, step)
        assert sideways(page) <= 0


def test_maps_that_cannot_be_computed_from_numbers_are_carried_as_bytes(chromium, tmp_path):
    """To half of 1/254 of the range of each map."""
    run = two_positions(tmp_path / "run")
    file = run.report(progress=False).save(tmp_path / "report.html")
    with opened(chromium, file) as page:
        for step in run.steps:
            go(page, step)
            subject = run.at(step).subject()
            for h in range(2):
                found = numbers(page, f"report.views[0].toA(report.views[0].map, {h})")
                expected = subject.pattern[:, :, h, 0].flatten().numpy()
                assert found == pytest.approx(expected, abs=float(np.ptp(expected)) / 508 + 1e-6)
            for at, n in enumerate(page.evaluate("report.views[0].run.neurons")):
                found = numbers(page, f"report.views[0].neuron(report.views[0].map, {at})")
                expected = subject.neurons[:, :, n].flatten().numpy()
                assert found == pytest.approx(expected, abs=float(np.ptp(expected)) / 508 + 1e-6)


def test_neurons_of_one_hidden_layer_are_computed_in_the_page(chromium, tmp_path):
    run = one_hidden_layer(tmp_path / "run")
    file = run.report(progress=False).save(tmp_path / "report.html")
    with opened(chromium, file) as page:
        for step in run.steps:
            go(page, step)
            subject = run.at(step).subject()
            for at, n in enumerate(page.evaluate("report.views[0].run.neurons")):
                found = numbers(page, f"report.views[0].neuron(report.views[0].map, {at})")
                assert found == pytest.approx(subject.neurons[:, :, n].flatten().numpy(), abs=1e-6)


def test_a_long_run_is_thinned_and_says_so(chromium, tmp_path, demo, monkeypatch):
    monkeypatch.setattr(content, "MOST_MAPS", 8)
    run = demo[1]
    file = run.report(progress=False).save(tmp_path / "report.html")
    with opened(chromium, file) as page:
        data = "report.views[0].run"
        assert page.evaluate(f"{data}.steps.length") == 12
        assert page.evaluate(f"{data}.map_steps.length") == 8
        left_out = next(step for step in run.steps if step not in page.evaluate(f"{data}.map_steps"))
        go(page, left_out)
        before = max(step for step in page.evaluate(f"{data}.map_steps") if step < left_out)
        note = page.locator("figure[aria-label='Attention to a, over pairs'] .note").inner_text()
        assert note == f"Maps are kept of 8 of 12 checkpoints: this is step {before}."


def test_two_runs_stay_in_step(chromium, tmp_path, demo):
    other = trained(tmp_path / "other")
    file = interp.report(demo[1], other, progress=False).save(tmp_path / "report.html")
    with opened(chromium, file) as page:
        assert page.locator("article.run").count() == 2
        assert page.evaluate("report.clock.steps") == sorted({*demo[1].steps, *other.steps})
        for step in (40, 300):
            go(page, step)
            at = page.evaluate("report.views.map((view) => view.run.steps[view.index])")
            assert at == [max(s for s in run.steps if s <= step) for run in (demo[1], other)]


# ── from the shell, in a notebook, during a training ─────────────────────────────────────────────────────────────


def test_the_shell_writes_a_page_and_says_how_to_open_it(tmp_path, small_run_path):
    done = command("report", small_run_path, "-o", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    assert f"Next: open {tmp_path / 'page.html'}" in done.stdout
    assert (tmp_path / "page.html").stat().st_size > 50_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "nowhere does not exist"),
        (("RUN", "-o", "page.pdf"), "path must end in .html"),
        (("RUN",) * 5, "report() takes 1 to 4 runs; got 5"),
    ],
)
def test_what_cannot_be_a_page_is_refused_in_a_sentence(tmp_path, small_run_path, arguments, said):
    given = [str(small_run_path) if one == "RUN" else one for one in arguments]
    done = command("report", *given)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_what_is_no_run_is_refused():
    said = outside("""
        import interp
        try:
            interp.report(3)
        except interp.ConfigError as error:
            print(error)
    """)
    assert said.strip() == "report() takes a Run or the path of one; got 3."
    with pytest.raises(ConfigError, match="1 to 4 runs; got 0"):
        interp.report()


def test_a_notebook_shows_the_page_itself(demo):
    shown = demo[1].report(progress=False)._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert "<script" not in shown  # it is escaped within the attribute


def test_it_works_within_the_frame_of_a_notebook(chromium, demo, tmp_path):
    """There the page has no address of its own."""
    file = tmp_path / "notebook.html"
    file.write_text(f"<html data-ready='true'><body>{demo[1].report(progress=False)._repr_html_()}</body></html>")
    with opened(chromium, file) as page:
        frame = page.frames[1]
        frame.wait_for_function("document.documentElement.dataset.ready", timeout=30_000)
        frame.evaluate("report.clock.goTo(300)")
        page.wait_for_timeout(500)  # the address is written a fifth of a second later
        assert frame.locator("#step").inner_text() == "step 300"


def test_what_a_record_does_not_tell_is_not_denied(tmp_path):
    run = another_groups_file(tmp_path / "run")
    unknown = interp.load_run(run.path)  # without its split
    text = interp.report(unknown, progress=False).html
    assert "When it memorized is not known" in text
    assert "When it generalized is not known" in text
    assert "It did not memorize" not in text


def test_a_module_without_an_embedding_has_its_waves(tmp_path):
    """Circles need W_E; the waves of the logits do not."""
    net, task, mask = small(), Task(11), interp.split_mask(11, 0.5, 0)
    model = Model(net, task, mask, tokens="ab", neurons="4")
    run = interp.load_run({step: copy.deepcopy(net.state_dict()) for step in (0, 5)}, model=model)
    found = content.content_of(run, progress=False)
    assert found.keys
    assert found.circles == []
    assert "circles" in found.missing
    assert found.arrays["waves"].numbers.shape == (2, len(found.keys), 2, 11)
    assert not {"form", "activation"} & set(found.data())


def test_a_page_leaves_a_training_on_its_threads(tmp_path):
    run = trained(tmp_path / "run")
    with on(2):
        LivePage(tmp_path / "run", tmp_path / "page.html")(run[-1])
        assert torch.get_num_threads() == 2


def test_a_page_follows_a_training(tmp_path):
    """Pages on the way cost at most a fortieth of the time: right after one there is no other."""
    run, file = tmp_path / "run", tmp_path / "page.html"
    page, written = LivePage(run, file), []

    def seen(checkpoint):
        page(checkpoint)
        written.append(file.stat().st_mtime_ns)

    interp.train(SMALL, run, progress=False, on_checkpoint=seen)
    assert len(written) == len(SMALL.checkpoint_steps)
    assert len(set(written)) == 1
    page.finish(progress=False)
    assert file.stat().st_mtime_ns > written[-1]
    assert '"steps":[0,20,40,60]' in file.read_text()


def test_a_run_without_a_readable_checkpoint_has_no_page(tmp_path):
    run = trained(tmp_path / "run")
    for one in (tmp_path / "run" / "checkpoints").iterdir():
        one.write_bytes(b"")
    with pytest.warns(UserWarning, match="step_"), pytest.raises(CheckpointError, match="can be read"):
        interp.load_run(run.path).report(progress=False)
