"""The pages of sweeps and of the neighbours, in a browser without a network: what they show is what interp computes."""

import csv
import functools
import io
import re
import shutil
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import interp
from interp import ConfigError
from interp.linear import double_descent, ridge
from interp.reports.neighbours import FEATURES, INPUTS, SAMPLES, SEED, neighbours_report
from interp.reports.run_page import Report
from interp.reports.sweep_words import exponents, summary
from interp.reports.sweeps import save_sweep_report, sweep_report
from interp.sweeps.comparisons import moved
from interp.sweeps.grid import configurations, run_id
from interp.sweeps.jobs import Job, perform
from interp.sweeps.survival import counted, curve_of, kaplan_meier, outcomes, waits, with_delays
from interp.sweeps.table import Sweep, open_sweep, varied
from tests import browsing
from tests.conftest import ROOT

TINY = {"p": 5, "train_fraction": 0.6, "d_model": 8, "n_heads": 1, "d_mlp": 8, "steps": 6, "checkpoint_steps": [[0, 6]]}
DELAYS = interp.load_sweep(ROOT / "checkpoints" / "delay-mod23")
SETTINGS = interp.load_sweep(ROOT / "checkpoints" / "settings-mod23")
HOSTILE = '<img src=x onerror="globalThis.hit = 1"></script><script>globalThis.hit = 1</script>'


@pytest.fixture(scope="module")
def browser():
    with browsing.browser() as found:
        yield found


@pytest.fixture
def opened(browser, tmp_path):
    """Return a function that opens a page, or a file of one; an error or a request on any fails the test."""
    context = browser.new_context(offline=True, viewport={"width": 1000, "height": 800})
    wrong: list[str] = []

    def open_page(page):
        file = page.save(tmp_path / "page.html") if isinstance(page, Report) else page
        shown = context.new_page()
        shown.set_default_timeout(20_000)
        shown.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        shown.on("pageerror", lambda error: wrong.append(str(error)))
        shown.on("request", lambda request: None if re.match("file:|blob:", request.url) else wrong.append(request.url))
        shown.goto(file.as_uri())
        shown.wait_for_function("document.documentElement.dataset.ready")
        return shown

    yield open_page
    context.close()
    assert wrong == []


@functools.cache
def delays_report():
    return sweep_report(DELAYS)


def shown_runs(page):
    rows = page.locator("#runs tbody tr")
    return rows.evaluate_all("rows => rows.map(row => row.cells[0].textContent)")


def drawn_paths(page, within):
    paths = page.locator(f"{within} svg[role=img] path")
    return paths.evaluate_all("paths => paths.map(path => path.getAttribute('d')).join()")


# ── the page of a sweep ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_table_of_a_sweep_sorts_as_pandas_does(opened):
    page = opened(delays_report())
    table = with_delays(DELAYS.table)
    for name in ("delay", "weight_decay", "test_loss", "generalized", "run"):
        heading = page.locator("#runs th", has_text=re.compile(rf"^{name}( \(|$)"))
        for direction in ("ascending", "descending"):
            heading.get_by_role("button").press("Enter")
            assert heading.get_attribute("aria-sort") == direction
            by_pandas = table.sort_values(name, kind="stable", ascending=direction == "ascending", na_position="last")
            assert shown_runs(page) == by_pandas["run"].tolist()
        assert page.locator("#runs th[aria-sort=none]").count() == page.locator("#runs th").count() - 1


def test_the_table_of_a_sweep_is_filtered_and_its_csv_has_the_numbers_that_are_shown(opened):
    page = opened(delays_report())
    table = with_delays(DELAYS.table)
    assert page.locator("#count").text_content() == "125 of 125 runs"
    page.get_by_label("Show runs with").fill("weight_decay=1 seed=3")
    own = table[(table["weight_decay"] == 1) & (table["seed"] == 3)]
    assert shown_runs(page) == own["run"].tolist()
    assert page.locator("#count").text_content() == f"{len(own)} of 125 runs"
    page.get_by_label("Show runs with").fill("≥")
    own = table[table["censored"]].reset_index(drop=True)
    assert shown_runs(page) == own["run"].tolist()
    with page.expect_download() as download:
        page.get_by_label("Download the numbers of “Runs” as CSV").click()
    text = download.value.path().read_text(encoding="utf-8")
    read = pd.DataFrame(list(csv.DictReader(io.StringIO(text))))
    numbers = ["learning_rate", "weight_decay", "seed", "memorized", "delay", "last_step", "train_loss", "test_loss"]
    # Numbers on the page have seven digits.
    pd.testing.assert_frame_equal(read[numbers].astype(float), own[numbers].astype(float), rtol=1e-6)
    assert read["generalized"].tolist() == [""] * len(own)
    assert read["censored"].tolist() == ["true"] * len(own)
    assert read["key_frequencies"].tolist() == [", ".join(map(str, keys)) for keys in own["key_frequencies"]]


def drawn_medians(page):
    """The lines of medians that the plot draws: a dict of the values of x for each colour."""
    lines = page.evaluate("report.delays.lines.series.filter(one => one.medians).map(one => [one.name, one.x, one.y])")
    return {name: dict(zip(x, y, strict=True)) for name, x, y in lines}


def medians(runs, by):
    return {value: pytest.approx(curve_of(of).median, rel=1e-12, nan_ok=True) for value, of in runs.groupby(by)}


def test_menus_choose_what_delays_are_drawn_against(opened):
    page = opened(delays_report())
    runs = waits(DELAYS.table)

    of_decay = {f"{decay:g}": medians(own, "learning_rate") for decay, own in runs.groupby("weight_decay")}
    assert drawn_medians(page) == of_decay
    before = drawn_paths(page, "#plots")
    page.get_by_label("Colour").select_option("")
    page.get_by_label("Setting", exact=True).select_option("weight_decay")
    assert drawn_paths(page, "#plots") != before
    assert drawn_medians(page) == {"median": medians(runs, "weight_decay")}
    # Each run is a dot, and each censored one a triangle, where its delay stands.
    dots, triangles = page.evaluate("report.delays.lines.series.slice(0, 2).map(one => one.y)")
    assert sorted(dots) == sorted(runs.loc[~runs["censored"], "delay"])
    assert sorted(triangles) == sorted(runs.loc[runs["censored"], "delay"])
    assert "6 had not generalized" in page.locator("#plots .note").first.text_content()
    page.get_by_label("Runs drawn").select_option("alone")
    alone = moved(runs)
    alone = alone[alone["moved"].isin(["", "weight_decay"])]
    assert drawn_medians(page) == {"median": medians(alone, "weight_decay")}


def test_medians_on_the_page_are_those_of_kaplan_and_meier(opened):
    """Ties, curves that stay at a half, and those that never get there among them."""
    page = opened(sweep_report(interp.load_sweep(ROOT / "checkpoints" / "seeds-mod113")))
    rng = np.random.default_rng(0)
    cases = [(rng.integers(1, 9, n), rng.random(n) < 0.4) for n in range(1, 13) for _ in range(25)]
    given = [[delay.tolist(), censored.tolist()] for delay, censored in cases]
    found = page.evaluate("cases => cases.map(([delay, censored]) => report.medianDelay(delay, censored))", given)
    expected = [kaplan_meier(delay.astype(float), censored).median for delay, censored in cases]
    assert np.isnan(expected).any()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_settings_in_words_and_runs_without_a_delay_are_drawn_and_said(opened):
    page = opened(sweep_report(SETTINGS))
    page.get_by_label("Setting", exact=True).select_option("optimizer")
    page.get_by_label("Runs drawn").select_option("all")
    ticks = page.evaluate("report.delays.lines.ticks.map(tick => tick.text)")
    assert ticks == sorted(SETTINGS.table["optimizer"].unique())
    note = page.locator("#plots .note").first.text_content()
    for words, count in counted(outcomes(SETTINGS.table)).items():
        assert (f"{count} {words}" in note) == (words in ("never memorized", "diverged"))
    assert len(shown_runs(page)) == 200
    page.get_by_role("button", name="Show all of them").click()
    assert shown_runs(page) == SETTINGS.table["run"].tolist()
    page.get_by_label("Setting", exact=True).select_option("batch_size")
    assert "all pairs" in page.evaluate("report.delays.lines.ticks.map(tick => tick.text)")


def test_the_words_of_a_sweep_count_its_runs_and_have_its_exponents():
    table = DELAYS.table
    first, changed, fit = summary(table, varied(table))
    nearly = "nearly generalized (at a test accuracy of 0.95 or more)"
    assert first == f"125 runs: 119 generalized, 4 {nearly}, 2 still waiting."
    assert "weight_decay (0.25, 0.5, 1, 2, 4)" in changed
    found = interp.fit_exponents(table, ["learning_rate", "weight_decay"]).exponents
    for name, (value, low, high) in found.items():
        assert f"{name} {value:.2f} [{low:.2f}, {high:.2f}]".replace("-", "−") in fit
    (each,) = exponents(SETTINGS.table, varied(SETTINGS.table))
    alone = moved(SETTINGS.table)
    alone = alone[alone["moved"].isin(["", "p"])]
    value, low, high = interp.fit_exponents(alone, ["p"]).exponents["p"]
    assert f": p {value:.2f} [{low:.2f}, {high:.2f}] (30 runs with a delay".replace("-", "−") in each
    assert "; 5 seeds as clusters)" in each
    counts = counted(outcomes(SETTINGS.table))
    assert counts["diverged"] == SETTINGS.table["error"].notna().sum() == 9
    assert counts["generalized"] == SETTINGS.table["generalized"].notna().sum()
    assert sum(counts.values()) == len(SETTINGS)


def test_names_and_settings_with_markup_are_text(opened):
    table = DELAYS.table.head(3).copy()
    table["run"] = [HOSTILE, "</table>", "c"]
    table["init"] = ["paper", HOSTILE, "<b>"]
    table["error"] = [None, None, HOSTILE]
    page = opened(sweep_report(Sweep(ROOT / HOSTILE.replace("/", "_"), table)))
    page.get_by_label("Setting", exact=True).select_option("init")
    page.get_by_label("Colour").select_option("init")
    assert page.evaluate("globalThis.hit") is None
    assert page.locator("img").count() == 0
    assert shown_runs(page) == table["run"].tolist()
    assert HOSTILE in page.locator(".doubts").text_content()


@pytest.fixture(scope="module")
def small_sweep(tmp_path_factory):
    path = open_sweep(tmp_path_factory.mktemp("sweeps") / "small", make=True)
    for config in configurations({**TINY, "seed": [0, 1, 2]}):
        name = run_id(config)
        assert perform(Job(config, path / "runs" / name[:2] / name, threads=1)) == "done"
    return interp.load_sweep(path)


def test_runs_with_checkpoints_have_pages_and_links_as_many_as_were_asked_for(opened, small_sweep, tmp_path):
    file = save_sweep_report(small_sweep, tmp_path / "my report.html", runs=1, progress=False)
    name = small_sweep.table["run"][0]
    assert sorted(one.name for one in (tmp_path / "my report_runs").iterdir()) == [f"{name}.html"]
    page = opened(file)
    assert page.locator(".doubts").text_content().endswith("1 of the 3 runs with checkpoints have a page of their own.")
    (link,) = page.locator("a").all()
    assert link.text_content() == name
    link.click()
    page.wait_for_function("document.documentElement.dataset.ready && report.views")
    assert name in page.title()


def test_runs_that_cannot_be_read_are_said_to_have_no_page(small_sweep, tmp_path):
    path = shutil.copytree(small_sweep.path, tmp_path / "sweep")
    broken, *others = small_sweep.table["run"]
    (path / "runs" / broken[:2] / broken / "config.json").write_text("{")
    file = save_sweep_report(path, tmp_path / "page.html", progress=False)
    assert sorted(one.stem for one in (tmp_path / "page_runs").iterdir()) == sorted(others)
    assert f"Run {broken} has no page of its own: " in file.read_text(encoding="utf-8")


def test_pages_that_are_no_relative_files_of_known_runs_are_refused():
    name = DELAYS.table["run"][0]
    with pytest.raises(ConfigError, match=r"pages must name runs of the sweep; .* has no run 'other'\.$"):
        sweep_report(DELAYS, {"other": "a.html"})
    with pytest.raises(ConfigError, match=r"pages must name relative files that end in \.html; got '/a\.html' for"):
        sweep_report(DELAYS, {name: "/a.html"})
    assert '"./javascript%3Aa.html"' in sweep_report(DELAYS, {name: "javascript:a.html"}).html
    with pytest.raises(ConfigError, match=r"at least one run; .* has none\.$"):
        sweep_report(Sweep(ROOT, DELAYS.table.head(0)))


# ── the page of the neighbours ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def problem():
    return ridge.random_features_problem(n=SAMPLES, d=INPUTS, m=FEATURES, seed=SEED)


def test_losses_and_times_of_ridge_regression_are_those_of_the_library(opened, problem):
    """Both compute in float64; what is left are sums in another order, far below 1e-6."""
    page = opened(neighbours_report())
    steps = [0, 1, 2, 7, 100, 10_001, 10**6, 10**9, 10**12]
    rng = np.random.default_rng(0)
    drawn = [[10.0 ** rng.uniform(-8, -1), 10.0 ** rng.uniform(-2, 2), rng.uniform(0.03, 0.97)] for _ in range(12)]
    cases = [[0.0, 10.0, 0.5], [1e-6, 10.0, 0.5], [1e-3, 0.0, 0.9], *drawn]
    code = """([cases, steps]) => cases.map(([weightDecay, initScale, share]) => {
        const { problem, tolerance } = report.ridge;
        const one = new report.Descent(problem, { weightDecay, initScale, share });
        const parts = steps.map((step) => one.testParts(step));
        return { rate: one.learningRate, times: [one.overfits(tolerance), one.generalizes(tolerance)],
                 frame: ["learned", "start", "never", "cross"].map((name) => parts.map((part) => part[name])),
                 train: steps.map((step) => one.trainLoss(step)), test: steps.map((step) => one.testLoss(step)) };
    })"""
    top = problem.svd.eigenvalues.max()
    events = set()
    for (decay, scale, share), found in zip(cases, page.evaluate(code, [cases, steps]), strict=True):
        rate = share * 2 / (top + decay)
        assert found["rate"] == pytest.approx(rate, rel=1e-12)
        df = ridge.trajectory(problem, steps, rate, decay, scale, SEED)
        close = {"rtol": 1e-6, "atol": 1e-12}  # losses that have decayed are rounding
        np.testing.assert_allclose(found["train"], df["train_loss"], **close)
        np.testing.assert_allclose(found["test"], df["test_loss"], **close)
        for name, values in zip(("learned", "initialization", "never_learned", "cross"), found["frame"], strict=True):
            np.testing.assert_allclose(values, df[f"test_loss_{name}"], **close)
        times = ridge.grokking_times(problem, rate, decay, scale, SEED)
        assert found["times"] == [times.overfitting, times.generalization]
        events |= {("never" if time is None else "at once" if time == 0 else "later") for time in found["times"]}
    assert {"never", "later"} <= events


def test_sliders_of_ridge_regression_move_curves_and_times_by_the_keyboard(opened, problem):
    page = opened(neighbours_report())

    def check():
        decay, scale, share = page.evaluate("['decay', 'scale', 'share'].map(name => report.ridge[name].value)")
        rate = share * 2 / (problem.svd.eigenvalues.max() + decay)
        times = ridge.grokking_times(problem, rate, decay, scale, SEED)
        said = page.locator("#ridge-regression .result").text_content()
        assert f"overfits at step {times.overfitting:,}." in said
        assert f"generalizes at step {times.generalization:,}. The delay is {times.delay:,} steps." in said
        steps, train, parts = page.evaluate("[report.ridge.steps, report.ridge.train, report.ridge.test]")
        test = [sum(part.values()) for part in parts]
        df = ridge.trajectory(problem, steps, rate, decay, scale, SEED)
        np.testing.assert_allclose(train, df["train_loss"], rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(test, df["test_loss"], rtol=1e-6, atol=1e-12)
        return times.delay, drawn_paths(page, "#ridge-regression")

    found = [check()]
    for label in ("Weight decay", "Scale of the start", "Learning rate"):
        slider = page.get_by_label(label)
        before = slider.get_attribute("aria-valuetext")
        slider.press("PageUp")
        assert slider.get_attribute("aria-valuetext") != before
        found.append(check())
    assert len({drawn for _, drawn in found}) == len(found)
    assert found[1][0] < found[0][0]  # more weight decay, a shorter delay
    page.get_by_label("Weight decay").press("Home")
    assert "none" in page.locator("label", has_text="Weight decay").text_content()
    assert "The test loss never settles" in page.locator("#ridge-regression .result").text_content()


def test_the_risk_of_double_descent_is_that_of_the_library(opened):
    page = opened(neighbours_report())
    cases = [
        [ratio, noise, penalty, signal]
        for ratio in (0.05, 0.5, 0.995, 1.0, 1.005, 2.0, 20.0)
        for noise in (0.0, 0.5, 2.0)
        for penalty in (0.0, 1e-6, 0.3, 10.0)
        for signal in (1.0, 3.0)
    ]
    code = "cases => cases.map(one => [report.isotropicRisk(...one), Object.values(report.riskParts(...one))])"
    for case, (risk, (teacher, noise)) in zip(cases, page.evaluate(code, cases), strict=True):
        ratio, sigma, penalty, signal = case
        assert risk == pytest.approx(double_descent.isotropic_risk(ratio, sigma, penalty, signal), rel=1e-12)
        assert teacher == pytest.approx(double_descent.isotropic_risk(ratio, 0.0, penalty, signal), rel=1e-12)
        assert noise == pytest.approx(double_descent.isotropic_risk(ratio, sigma, penalty, 0.0), rel=1e-12)


@pytest.mark.parametrize("along", ["parameters", "samples"])
def test_sliders_of_double_descent_move_its_curve_and_its_marker(opened, along):
    page = opened(neighbours_report())
    page.get_by_label("Along").select_option(along)
    for label, key in (("Label noise", "PageUp"), ("Ridge", "End"), ("Marker", "PageDown")):
        page.get_by_label(label).press(key)
    noise, penalty, chosen = page.evaluate("['noise', 'ridge', 'chosen'].map(name => report.descent[name].value)")
    assert (noise > 0.5, penalty, chosen < 400) == (True, 10.0, True)
    sizes, curves = page.evaluate("[report.descent.sizes, report.descent.curves]")
    ratios = [size / 200 if along == "parameters" else 200 / size for size in sizes]
    for ratio, (error, *_, tuned) in zip(ratios, curves, strict=True):
        assert error == pytest.approx(double_descent.isotropic_risk(ratio, noise, penalty), rel=1e-12)
        assert tuned == pytest.approx(double_descent.isotropic_risk(ratio, noise, noise**2 * ratio), rel=1e-12)
    assert all(one < other for one, other in pairwise(sizes))
    error = curves[sizes.index(chosen)][0]
    said = page.locator("#double-descent .result").text_content()
    assert said.startswith(f"At {chosen} {along} ")
    assert f"the error is {error:.4g}:" in said
    assert page.locator("#double-descent text.title").first.text_content().startswith(along)
    marker = page.locator("#double-descent line.marker").get_attribute("x1")
    assert float(marker) == pytest.approx(page.evaluate("report.descent.lines.x(report.descent.chosen.value)"))


# ── both ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def some_report():
    return sweep_report(Sweep(DELAYS.path, DELAYS.table.head(20)))


@pytest.mark.parametrize("make", [some_report, neighbours_report])
def test_pages_are_accessible_in_light_and_dark_and_never_scroll_sideways(opened, make):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    report = make()
    assert "data:" not in report.html
    page = opened(report)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = axe.run(page).response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
    for width in (360, 800, 1300):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")  # once plots are drawn anew
