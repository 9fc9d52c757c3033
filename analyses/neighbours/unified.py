"""Ridge regression and two-layer networks beside the run's transformer: steps to overfit and to generalize.

Ridge regression and the networks have overfitted (generalized) when their train (test) loss stays under a tenth of the
teacher's variance, the transformer when its train (test) accuracy reaches 0.99. A third figure and its table are the
transformer's test loss, a double descent over its steps.
"""

from pathlib import Path

import pandas as pd

from analyses._tables import write_table
from analyses.neighbours._grokking import network_delays, ridge_map, ridge_problem
from analyses.neighbours._sizes import PAPER, Sizes
from interp import Run, phases, plot
from interp.linear import ridge
from interp.linear.peaks import descents
from interp.utils.errors import warn


def main(run: Run, out: Path, sizes: Sizes = PAPER) -> list[Path]:
    history = run.history
    events = phases(history)
    for event in ("memorized", "generalized"):
        if event in events.missing:
            warn(f"unified has no point for the run: {events.missing[event]}.")
    cells = ridge_map(sizes)
    some = [sorted(cells[name].unique())[::3] for name in ("weight_decay", "init_scale")]
    cells = cells[cells["weight_decay"].isin(some[0]) & cells["init_scale"].isin(some[1])]
    kinds = {
        "ridge regression": cells,
        "two-layer network": network_delays(sizes),
        "transformer": pd.DataFrame({"overfitting": [events.memorized], "generalization": [events.generalized]}),
    }
    events_of = ["overfitting", "generalization"]
    own = [frame[events_of].astype("Float64").assign(system=system) for system, frame in kinds.items()]
    times = pd.concat(own, ignore_index=True)
    problem = ridge_problem(sizes)
    exact, found_times = ridge.trajectory(problem, 10**7), ridge.grokking_times(problem)
    beside = plot.ridge_beside_network(exact, history, found_times, events)
    written = plot.save(beside, out, "ridge_beside_network")
    written += plot.save(plot.steps_to_fit_and_generalize(times), out, "unified")

    recorded = history.dropna(subset=["train_loss", "test_loss"])
    found = descents(recorded["step"], recorded["train_loss"], recorded["test_loss"])
    written += plot.save(plot.descents(recorded, found, log=True), out, "unified_descents")
    told = {name: value for name, value in found.to_dict().items() if name != "missing"}
    notes = [found.missing.get(name, "") for name in told]
    table = pd.DataFrame({"what": list(told), "value": list(told.values()), "note": notes})
    shown = table.assign(value=["–" if value is None else f"{value:,.6g}" for value in told.values()])
    return written + write_table(table, out, "unified_descents", shown)
