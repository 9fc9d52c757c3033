"""Tables of sweeps, made by hand."""

import pandas as pd

import interp


def swept_table(**columns) -> pd.DataFrame:
    """Return a table whose steps are whole numbers that may be missing, as those of a sweep."""
    frame = pd.DataFrame(columns)
    for name in ("memorized", "generalized", "last_step"):
        frame[name] = frame[name].astype("Int64")
    return frame


def of_settings() -> pd.DataFrame:
    """Runs of a middle (weight decay 1), of other decays, of dropout with another rate, and of another network."""
    rows = []

    def run(memorized, generalized, last=1_000, **settings):
        rows.append({
            **interp.TrainConfig(p=23, train_fraction=0.8, steps=last, seed=len(rows)).flat(), **settings,
            "memorized": memorized, "generalized": generalized, "last_step": last,
        })  # fmt: skip

    for generalized in (110, 210, 310):
        run(10, generalized)
    for generalized in (30, 20, 40):
        run(10, generalized, weight_decay=3.0)
    for generalized in (None, 900, None):
        run(10, generalized, weight_decay=0.1)
    run(None, None, weight_decay=10.0)
    run(10, 510, dropout=0.1, learning_rate=0.01)
    for d_hidden in (64, 128):
        run(10, 10, network="one_hidden_layer", **{"network.d_hidden": d_hidden, "network.d_embed": 32})
    return swept_table(**{name: list(column) for name, column in pd.DataFrame(rows).astype(object).items()})
