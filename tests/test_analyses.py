"""`python -m analyses` on the shipped run: its phases on the screen, its figures and tables on the disk."""

import math
from dataclasses import replace
from functools import partial

import pandas as pd
import pytest

import interp
from analyses._beside import parts
from interp.plot.declared import FIGURES
from tests.processes import HAS_BROWSER, ROOT, module

run = partial(module, "analyses")


@pytest.mark.parametrize("browser", ["/nonexistent/chrome", "/bin/false"])
def test_without_a_browser_that_starts_the_html_comes_with_one_sentence(tmp_path, browser):
    done = run("--out", tmp_path, "training_curves", BROWSER_PATH=browser)
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["index.html", "plotly.min.js", "training_curves.html"]
    assert "HTML only" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_figure_that_a_run_cannot_give_is_passed_over_with_its_reason(tmp_path):
    config = interp.TrainConfig(p=5, operation="random", train_fraction=0.5, d_model=8, n_heads=1, d_mlp=8, steps=3)
    interp.train(config, tmp_path / "run", progress=False)
    done = run("--run", tmp_path / "run", "--out", tmp_path / "out", "cos_coefficients", "phases")
    assert "Skipped cos_coefficients: " in done.stderr
    assert (tmp_path / "out" / "phases.md").exists()


RUN_FIGURES = tuple(name for name, one in FIGURES.items() if one.of in ("run", "model"))
NEIGHBOUR_FIGURES = (
    "ridge_stages", "ridge_delay", "ridge_and_network", "double_descent_theory", "double_descent_capacity",
    "double_descent_parts", "double_descent_samples", "double_descent_removals", "double_descent_epochs",
    "double_descent_digits", "double_descent_ensembles", "double_descent_ensembles_digits", "unified",
    "unified_descents", "ridge_beside_network",
)  # fmt: skip
SWEEP_FIGURES = ("sweep_delay", "sweep_delay_map", "sweep_survival")
KINDS = ("html", "pdf", "png") if HAS_BROWSER else ("html",)


def files(figures: tuple[str, ...], tables: tuple[str, ...]) -> set[str]:
    pages = {f"{name}.{kind}" for name in figures for kind in KINDS} | {"index.html", "plotly.min.js"}
    return pages | {f"{table}.{kind}" for table in tables for kind in ("csv", "md")}


def test_all_figures_and_tables_of_the_shipped_run(shipped, tmp_path):
    done = run("--out", tmp_path, "run")
    assert done.returncode == 0, done.stderr
    assert ("Warning" in done.stderr) == (not HAS_BROWSER), done.stderr
    ph = interp.phases(shipped)
    assert str(ph) in done.stdout
    assert {file.name for file in tmp_path.iterdir()} == files(
        RUN_FIGURES, ("phases", "claims", "formation")
    ) | {"circles.gif", "report.html"}  # fmt: skip
    index = (tmp_path / "index.html").read_text()
    assert 'src="circles.gif"' in index
    assert '<a href="report.html">mod113-seed0: an interactive page</a>' in index
    assert 'id="report"' not in index  # it is no figure
    assert all(file.stat().st_size < 2_000_000 for file in tmp_path.glob("*.pdf"))
    table = pd.read_csv(tmp_path / "phases.csv", comment="#").set_index("event")["step"]
    assert table["circuit_formation_end"] == ph.circuit_formation_end
    assert (
        f"| cleanup_end | {ph.cleanup_end:,} | {ph.intervals['cleanup_end'][0]:,} |"
        in (tmp_path / "phases.md").read_text()
    )
    formation = pd.read_csv(tmp_path / "formation.csv", comment="#")
    assert formation["half way at step"].is_monotonic_increasing
    half = formation.set_index("column")["half way at step"]
    assert half["neuron_logit_key_share"] < ph.circuit_formation_end < half["single_frequency_neurons"]
    claims = pd.read_csv(tmp_path / "claims.csv", comment="#")
    assert list(claims.columns) == ["claim", "Nanda et al. (2023)", "this run", "agrees", "computed by"]
    assert claims["this run"].iloc[0] == "5: 14, 35, 41, 42, 52"
    assert set(claims["agrees"]) == {"yes"}
    assert (tmp_path / "claims.md").read_text().count("\n") == len(claims) + 4


def test_all_figures_and_tables_of_the_neighbours(shipped, tmp_path):
    """At small sizes: what `make paper` draws at its own."""
    done = run("--out", tmp_path, "--quick", "neighbours")
    assert done.returncode == 0, done.stderr
    assert "Skipped" not in done.stderr
    warned = [line for line in done.stderr.splitlines() if "Warning" in line]
    of_delays = [line for line in warned if "have no delay along" in line]  # small networks that do not generalize
    assert (warned == of_delays) == HAS_BROWSER, done.stderr
    tables = (
        "ridge_times", "grokking_exponents", "double_descent_digits", "double_descent_ensembles", "unified_descents",
    )  # fmt: skip
    assert {file.name for file in tmp_path.iterdir()} == files(NEIGHBOUR_FIGURES, tables)
    times = pd.read_csv(tmp_path / "ridge_times.csv", comment="#")
    assert times["init_scale"].tolist() == [10, 1, 10]
    assert times["delay"][0] > 100 * times["overfitting"][0]
    averaged = pd.read_csv(tmp_path / "double_descent_ensembles.csv", comment="#").set_index(
        ["networks", "width", "members"]
    )
    error = averaged["test_error"]["random features", 20]  # as many as the samples
    assert error[1.0] - error[2.0] == pytest.approx(error[2.0] - error[math.inf])  # V/2 both
    exponents = pd.read_csv(tmp_path / "grokking_exponents.csv", comment="#").set_index("setting")
    assert float(exponents["ridge regression"]["weight_decay"].split()[0]) == pytest.approx(-1, abs=0.15)
    history = shipped.history
    marks = pd.read_csv(tmp_path / "unified_descents.csv", comment="#").set_index("what")["value"]
    assert marks["peak_error"] == pytest.approx(history["test_loss"].max())


def test_all_figures_and_tables_of_the_shipped_sweep(tmp_path):
    """Without the run and the neighbours; the exponents are those of the table that is shipped."""
    done = run("--run", tmp_path / "none", "--out", tmp_path, "sweep")
    assert done.returncode == 0, done.stderr
    assert {file.name for file in tmp_path.iterdir()} == files(SWEEP_FIGURES, ("sweep_exponents",))
    table = interp.load_sweep(ROOT / "checkpoints" / "delay-mod23").table
    found = interp.fit_exponents(table, ["weight_decay", "learning_rate"])
    written = pd.read_csv(tmp_path / "sweep_exponents.csv", comment="#")
    assert written["law"].drop_duplicates().tolist() == ["frechet", "log-logistic", "log-normal", "weibull"]
    written = written[written["law"] == found.law].set_index("setting")
    assert written["exponent"].to_dict() == {
        name: pytest.approx(value, abs=0.005) for name, (value, _, _) in found.exponents.items()
    }
    assert len(table) == 125
    assert table["error"].isna().all()


def test_the_figure_and_tables_of_the_shipped_sweep_of_settings(tmp_path):
    done = run("--run", tmp_path / "none", "--out", tmp_path, "settings")
    assert done.returncode == 0, done.stderr
    tables = ("more_data", "more_data_exponents", "seeds_and_rounding", "settings_effects", "settings_exponents")
    assert {file.name for file in tmp_path.iterdir()} == files(("settings_effects",), tables)
    table = interp.load_sweep(ROOT / "checkpoints" / "settings-mod23").table
    failed = table[table["error"].notna()]
    assert failed["error"].str.startswith("the loss is no longer finite").all()
    assert set(zip(failed["optimizer"], failed["learning_rate"], strict=True)) == {("sgd", 0.3)}
    written = pd.read_csv(tmp_path / "settings_effects.csv", comment="#").set_index("setting")
    assert written["runs"].sum() == len(table)
    without = table[(table["weight_decay"] == 0) & (table["l1"] == 0) & (table["optimizer"] == "adamw")]
    assert written.loc["weight_decay=0", "generalized"] == 0
    assert len(without) >= written.loc["weight_decay=0", "runs"] == 5
    shown = (tmp_path / "settings_effects.md").read_text()
    assert "| weight_decay=0 | 5 still waiting |" in shown
    assert "none that 5 seeds show" in shown
    spreads = pd.read_csv(tmp_path / "seeds_and_rounding.csv", comment="#").set_index("between")
    # s, and s √(4 / χ²) of 11.1433 and 0.4844: 2,470 [1,480, 7,097] and 648 [388, 1,863].
    assert spreads.loc["seeds", ["standard deviation", "95 % interval"]].tolist() == ["2,470", "1,480 to 7,097"]
    assert spreads.loc["rounding", ["standard deviation", "95 % interval"]].tolist() == ["648", "388 to 1,863"]
    assert "no run generalizes | never |" in shown  # nor does ridge regression, exactly


def test_a_cut_of_the_shipped_sweep_of_settings_is_made_again_by_its_file(tmp_path):
    """The same runs by name; rounding on another processor moves steps, so these agree to a factor of two."""
    from interp.sweeps.grid import read_plan, run_id

    shipped = interp.load_sweep(ROOT / "checkpoints" / "settings-mod23").table.set_index("run")
    configs = read_plan(ROOT / "checkpoints" / "settings-mod23" / "settings.toml").configs
    assert {run_id(config) for config in configs} >= set(shipped.index)
    cut = [config for config in configs if config.seed == 0 and (config.weight_decay == 3 or config.l1 == 1e-3)
           and config.optimizer == "adamw"]  # fmt: skip
    cut = [config for config in cut if run_id(config) in shipped.index]
    made = interp.sweep(
        [replace(config, steps=400) for config in cut], tmp_path / "cut", stop_when="generalized", workers=1,
        progress=False,
    ).table.set_index("run")  # fmt: skip
    assert len(made) == len(cut) >= 1
    for name, row in made.iterrows():
        first = shipped.loc[name]
        assert row["memorized"] is pd.NA or 0.5 <= row["memorized"] / first["memorized"] <= 2
        if first["generalized"] is not pd.NA and first["generalized"] < 200:
            assert 0.5 <= row["generalized"] / first["generalized"] <= 2


def test_neighbours_that_share_problems_are_drawn_by_one_process():
    names = ["double_descent_epochs", "ridge_stages", "double_descent_digits", "unified"]
    assert parts(names) == [["ridge_stages", "unified"], ["double_descent_digits"], ["double_descent_epochs"]]


def test_the_neighbours_need_no_run(tmp_path):
    done = run("--run", tmp_path / "none", "--out", tmp_path, "--quick", "double_descent_epochs")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "double_descent_epochs.html").exists()


def test_a_run_that_never_groks_has_no_point_among_its_neighbours(small_run_path, tmp_path):
    done = run("--run", small_run_path, "--out", tmp_path, "--quick", "unified")
    assert done.returncode == 0, done.stderr
    assert "unified has no point for the run: it never generalized" in done.stderr
    assert (tmp_path / "unified.html").exists()


def test_claims_that_a_run_does_not_bear_out_are_said(small_run):
    """Sixty steps make no circuit: the table says no, and why."""
    from analyses.claims import claims

    table = claims(small_run).set_index("claim")
    m = interp.progress_measures(small_run)
    assert table.loc["five key frequencies", "this run"].startswith(f"{len(m.key_frequencies)}: ")
    assert table.loc["variance of the logits in the key cosines", "this run"] == f"{m.logit_variance_explained:.1%}"
    assert table.loc["variance of the logits in the key cosines", "agrees"] == "no"
    assert "never" in table.loc["memorization, circuit formation and cleanup end at", "this run"]
    assert table.loc["memorization, circuit formation and cleanup end at", "agrees"] == "no"
    assert "yes" not in set(table["agrees"])
    assert set(table["doubt"]) == {f"the claims are about a network that generalizes; {m.key_doubt}"}


def test_one_table_of_another_run(small_run_path, tmp_path):
    done = run("--run", small_run_path, "--out", tmp_path, "phases")
    assert done.returncode == 0, done.stderr
    assert {file.name for file in tmp_path.iterdir()} == {"phases.csv", "phases.md", "index.html"}
    assert "never generalized" in (tmp_path / "phases.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "there is no analysis nonsense; choose from run, neighbours, sweep, settings, "),
        (("--run", "nowhere"), "does not exist"),
    ],
)
def test_what_is_wrong_is_said(arguments, said):
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
