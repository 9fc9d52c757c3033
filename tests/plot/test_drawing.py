"""Figures by name: declared once, drawn of a run, a model, a log or a sweep, written with an index that shows them."""

import re
from contextlib import nullcontext

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import interp
from interp import ConfigError, plot
from interp.plot.declared import FIGURES
from interp.plot.shown import Shown, shown
from tests.conftest import ROOT
from tests.processes import HAS_BROWSER, interp as shell, outside
from tests.runs.test_states import training


@pytest.fixture
def own_figure():
    """A user's own figure, gone again afterwards."""
    before = dict(FIGURES)

    @interp.figure("run", title="Size of the weights", caption="It <falls>.", data=lambda of: {"frame": of.trajectory})
    def size(frame):
        return go.Figure(go.Scatter(x=frame["step"], y=frame["sum_squared_weights"]))

    yield size
    FIGURES.clear()
    FIGURES.update(before)


def test_a_figure_of_a_run_is_that_of_its_data_with_its_run_in_words(small_run):
    frame = interp.trajectory(small_run, progress=False)
    of_run, of_data = plot.ginis(small_run), plot.ginis(frame, interp.phases(small_run))
    assert [list(one.y) for one in of_run.data] == [list(one.y) for one in of_data.data]
    assert of_run.layout.shapes == of_data.layout.shapes
    train = int(small_run.train_mask.sum())
    task = small_run.task
    about = f"a + b mod {task.p}, seed {small_run.config.seed}, {train} of {task.p**2} pairs trained on (paper's split)"
    assert of_run.layout.meta["about"].replace(",", "") == about.replace(",", "")
    assert of_run.layout.title.text.startswith("<b>Gini coefficients of the Fourier norms</b><br>")
    assert about.split(",")[0] in of_run.layout.title.text
    assert of_data.layout.meta["about"] == ""
    assert plot.ginis(str(small_run.path)).layout.title.text == of_run.layout.title.text


def test_a_figure_of_a_model_takes_a_checkpoint_a_run_or_a_path(small_run):
    m = interp.progress_measures(small_run)
    drawn = plot.fourier_norms(small_run)
    np.testing.assert_array_equal(drawn.data[0].y, m.embedding_norms[1::2])
    assert drawn.layout.meta["about"].endswith(f"step {small_run.steps[-1]}")
    early = plot.fourier_norms(small_run.at(small_run.steps[0]))
    np.testing.assert_array_equal(early.data[0].y, interp.progress_measures(small_run[0]).embedding_norms[1::2])
    assert early.layout.meta["about"].endswith("step 0")


def test_what_the_caller_gives_goes_before_what_is_fetched(shipped):
    chosen = plot.cos_coefficients(shipped, key_frequencies=[3])
    assert [one.name for one in chosen.data if one.name.startswith("k =")] == ["k = 3"]
    assert plot.cos_coefficients(shipped, [3]).data == chosen.data
    assert plot.ginis(shipped, title="Mine").layout.title.text.startswith("<b>Mine</b>")
    assert plot.ginis(shipped, title="").layout.title.text is None


def test_a_figure_that_is_declared_is_in_all_places(own_figure, small_run, tmp_path):
    """One function, and it is in interp.plot, in the list, among all figures, and in the index with its caption."""
    assert "size" in dir(plot)
    frame = interp.trajectory(small_run, progress=False)
    assert list(plot.size(small_run).data[0].y) == frame["sum_squared_weights"].tolist()
    assert interp.list_figures().set_index("name").loc["size", "caption"] == "It <falls>."
    interp.figures(small_run, tmp_path, ["size"], formats=(), progress=False)
    assert {file.name for file in tmp_path.iterdir()} == {"size.html", "plotly.min.js", "index.html"}
    index = (tmp_path / "index.html").read_text()
    assert "It &lt;falls&gt;." in index
    assert "Size of the weights" in index


def test_a_users_figure_is_drawn_from_the_shell(small_run_path, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import interp, plotly.graph_objects as go\n"
        '@interp.figure("model", title="T", caption="C", data=lambda of: {"norms": of.measured("embedding_norms")})\n'
        "def bars(norms):\n    return go.Figure(go.Bar(y=norms))\n"
    )
    done = shell("figures", small_run_path, "--import", tmp_path / "mine.py", "--figure", "bars", "--formats", "html",
                 "-o", tmp_path / "out")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "bars.html").exists()


def test_pages_share_one_script_and_need_no_network(small_run, tmp_path):
    interp.figures(small_run, tmp_path, ["ginis", "accuracies"], formats=(), progress=False)
    script = (tmp_path / "plotly.min.js").stat().st_size
    pages = list(tmp_path.glob("*.html"))
    assert len(pages) == 3
    assert sum(page.stat().st_size for page in pages) < script / 5
    for page in pages:
        addresses = re.findall(r'(?:src|href)="([^"]*)"', page.read_text())
        assert not [one for one in addresses if "//" in one], page.name
    lone = plot.save(plot.ginis(small_run), tmp_path / "alone", "ginis", formats=())
    assert [file.name for file in lone] == ["ginis.html"]
    assert lone[0].stat().st_size > script  # it can be mailed


def test_what_cannot_be_drawn_is_said_with_its_reason(tmp_path):
    """A network of one hidden layer has no attention; the others of its figures are there."""
    config = interp.TrainConfig(p=7, train_fraction=0.6, steps=20, network=interp.OneHiddenLayer(d_hidden=16),
                                checkpoint_steps=(0, 10, 20))  # fmt: skip
    run = interp.train(config, tmp_path / "run", progress=False)
    missing = interp.figures(run, tmp_path / "out", formats=(), progress=False)
    assert missing["attention_over_pairs"] == "the model has no attention"
    assert "attention" in missing["attention_scores"]
    index = (tmp_path / "out" / "index.html").read_text()
    assert "<b>attention_over_pairs</b>: the model has no attention" in index
    there = {page.stem for page in (tmp_path / "out").glob("*.html")} - {"index"}
    of_run = {name for name, one in FIGURES.items() if one.of in ("run", "model")}
    assert there == of_run - set(missing)
    assert {"training_curves", "circuit_formation", "fourier_norms", "logit_fourier_norms"} <= there
    said = plot.circuit_formation(run).layout
    assert any("attention of one frequency" in (note.text or "").replace("<br>", " ") for note in said.annotations)
    assert "one hidden layer" in said.meta["about"]


def test_a_run_of_states_is_drawn_from_its_measures_and_says_what_its_model_was_given_without():
    net, states = training()
    model = interp.Model(net.module, net.task, net.train_mask, tokens="ab", W_E="0")
    run = interp.load_run(states, model=model)
    frame = interp.trajectory(run, progress=False)
    curves = plot.training_curves(run)
    drawn = [frame[f"{name}_{kind}"].tolist() for kind in ("accuracy", "loss") for name in ("train", "test")]
    assert [list(one.y) for one in curves.data] == drawn
    assert curves.layout.yaxis2.title.text == "Loss, p outputs (nats)"
    assert [one.name for one in plot.ginis(run).data] == ["W<sub>E</sub>"]
    without = "since the model was given without {0}; name the part that gives it ({0}=)."
    assert f"Not drawn: W<sub>L</sub>, {without.format('W_L')}" in beneath(plot.ginis(run))
    assert f"Not drawn: attention of one frequency, {without.format('pattern')}" in beneath(plot.circuit_formation(run))
    with pytest.warns(UserWarning, match="effective_rank is missing at all checkpoints"):
        further = plot.further_measures(run)
    assert {"explained accuracy", "test accuracy"} <= {one.name for one in further.data}
    assert f"Not drawn: phase alignment, {without.format('neurons')}" in beneath(further)
    unsplit = interp.load_run(states, model=interp.Model(net.module, net.task, tokens="ab"))
    for name in ("progress_measures", "training_curves", "excluded_losses"):
        with pytest.raises(ConfigError, match="holds no values of, since no train/test split is known; give split="):
            getattr(plot, name)(unsplit)


def test_names_over_panels_are_short_and_whole_where_the_mouse_is():
    """A panel is 140 pixels wide, which 20 letters fill."""
    names = ["embed.weight", "transformer.h.0.attn.c_attn.weight"]
    path = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0]])
    figure = plot.weights_path_by_part(dict.fromkeys(names, path), dict.fromkeys(names, np.array([0.75, 0.25])),
                                       np.array([0, 10, 20]))  # fmt: skip
    over = [note.text.split("<br>") for note in figure.layout.annotations]
    assert over == [["embed.weight", "75%, 25%"], ["….attn.c_attn.weight", "75%, 25%"]]
    assert [one.name for one in figure.data] == names


def beneath(figure) -> str:
    return " ".join(note.text.replace("<br>", " ") for note in figure.layout.annotations)


def test_every_figure_of_a_run_names_its_axes_title_and_caption(small_run):
    of = Shown(run=small_run)
    drawn = 0
    for one in FIGURES.values():
        assert one.title, one.name
        assert one.caption.endswith("."), one.name
        if one.of not in ("run", "model"):
            continue
        try:
            figure = one.call(of)
        except (ConfigError, interp.Missing):
            continue
        drawn += 1
        assert figure.layout.title.text.startswith(f"<b>{one.title.split()[0]}")
        columns = {axis.domain for axis in figure.select_xaxes()}
        named = [axis.title.text for axis in figure.select_xaxes() if axis.title.text]
        assert len(named) >= len(columns), one.name
        assert any(axis.title.text for axis in figure.select_yaxes()), one.name
    assert drawn >= 12


def test_a_log_gives_the_figures_that_it_can(small_run, tmp_path):
    small_run.history.to_csv(tmp_path / "log.csv", index=False)
    figure = plot.training_curves(tmp_path / "log.csv")
    np.testing.assert_allclose(figure.data[0].y, small_run.history["train_accuracy"])
    missing = interp.figures(tmp_path / "log.csv", tmp_path / "out", formats=(), progress=False)
    assert (tmp_path / "out" / "training_curves.html").exists()
    assert set(missing) == {name for name, one in FIGURES.items() if one.of == "run"} - {"training_curves"}
    assert set(missing.values()) == {"it needs checkpoints, and a log of losses has none"}


def test_a_shipped_sweep_gives_its_figures(tmp_path):
    missing = interp.figures(ROOT / "checkpoints" / "delay-mod23", tmp_path, formats=(), progress=False)
    assert {"sweep.html", "sweep_map.html", "survival.html"} <= {page.name for page in tmp_path.glob("*.html")}
    assert set(missing) <= {"effects"}
    assert plot.sweep(ROOT / "checkpoints" / "delay-mod23").layout.title.text.startswith("<b>Delay by learning rate<")
    sweep = interp.load_sweep(ROOT / "checkpoints" / "delay-mod23")
    assert plot.sweep(sweep).data == plot.sweep(sweep.table, "learning_rate", color="weight_decay").data
    axis = plot.sweep(sweep).layout.xaxis
    assert list(axis.tickvals) == sorted(sweep.table["learning_rate"].unique())  # a tick at each value that was run


def test_many_key_frequencies_are_rows_and_not_lines():
    keys = list(range(1, 16))
    frame = pd.DataFrame({"step": [0, 10, 20], **{f"excluded_loss_{k}": [1.0, 10.0**-k, 0.5] for k in keys},
                          **{f"cos_coefficient_{k}": [1.0, 2.0, float(k)] for k in keys}})  # fmt: skip
    (rows,) = plot.excluded_losses(frame).data
    assert list(rows.y) == [str(k) for k in keys]
    np.testing.assert_allclose(np.asarray(rows.customdata)[2], [1.0, 1e-3, 0.5])
    (rows,) = plot.cos_coefficients(frame, keys).data
    np.testing.assert_allclose(10 ** np.asarray(rows.z)[:, 2], keys)


@pytest.mark.parametrize("p", [7, 23, 59, 113])
def test_ticks_of_frequencies_do_not_collide(p):
    axis = plot.logit_fourier_norms(np.ones((p, p))).layout.xaxis
    assert len(axis.tickvals) <= 9
    assert list(axis.tickvals[1:]) == [2 * int(k) - 0.5 for k in axis.ticktext[1:]]


def test_what_is_wrong_is_one_sentence(small_run, tmp_path):
    with pytest.raises(ConfigError, match=r"There is no figure 'ginni'\. Did you mean ginis"):
        interp.figures(small_run, tmp_path, ["ginni"])
    with pytest.raises(ConfigError, match="The figure ridge_stages needs a frame"):
        interp.figures(small_run, tmp_path, ["ridge_stages"])
    with pytest.raises(ConfigError, match=r"ginis is drawn over a training; got a Checkpoint\. Give a Run"):
        plot.ginis(small_run[-1])
    with pytest.raises(ConfigError, match="step names a checkpoint of a run"):
        interp.figures(small_run[-1], tmp_path, step=20)
    with pytest.raises(AttributeError, match="no figure 'nonsense'"):
        _ = plot.nonsense
    said = outside(
        """
        import interp
        for make in (
            lambda: interp.figure("page", title="T", caption="C"), lambda: interp.figure("run", title="T", caption="C"),
            lambda: interp.plot.ginis(3), lambda: interp.plot.sweep(3),
        ):
            try:
                make()
            except interp.ConfigError as error:
                print(error)
        """
    ).splitlines()
    assert said[0].startswith("of must be run, model, sweep or frame; got 'page'.")
    assert said[1].startswith("A figure of a run needs data, such as data=lambda of:")
    assert said[2].startswith("ginis takes a Run, a path, or its data; got 3.")
    assert said[3].startswith("sweep takes a Sweep, the path of one, or its table; got 3.")
    assert shown(small_run).run is small_run


def test_the_command_names_what_it_could_not_draw(small_run_path, tmp_path):
    done = shell("figures", small_run_path, "-o", tmp_path, "--formats", "html", "--figure", "neurons_over_pairs",
                 "--figure", "training_curves")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"Next: open {tmp_path / 'index.html'}" in done.stdout.replace("\n", "")
    assert "Not drawn: neurons_over_pairs, since no neuron of this network" in done.stderr
    listed = shell("figures", "--list").stdout
    assert all(name in listed for name in FIGURES)
    assert "interp figures needs a run" in shell("figures").stderr


def test_images_of_a_gallery_are_there_when_it_ends_and_an_error_within_leaves_no_browser(small_run, tmp_path):
    said = nullcontext() if HAS_BROWSER else pytest.warns(UserWarning, match="ginis was written as HTML only")
    with said, plot.gallery(tmp_path / "out", progress=False):
        written = plot.save(plot.ginis(small_run), tmp_path / "out", "ginis", formats=["png"])
    assert [file.name for file in written] == ["ginis.html", "ginis.png"]
    assert [file.exists() for file in written] == [True, HAS_BROWSER]
    shown = '<img src="ginis.png"' if HAS_BROWSER else '<iframe src="ginis.html"'
    assert shown in (tmp_path / "out" / "index.html").read_text()

    def interrupted():
        with plot.gallery(tmp_path / "cut", progress=False):
            plot.save(plot.ginis(small_run), tmp_path / "cut", "ginis", formats=["png", "pdf"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert {file.name for file in (tmp_path / "cut").iterdir()} >= {"ginis.html", "index.html"}
    assert not list((tmp_path / "cut").glob(".*"))  # nothing half-written
