"""The paper's numerical claims about the final network, each beside this run's value and what computed it."""

from pathlib import Path

import pandas as pd

from analyses._over_training import over_training
from analyses._tables import write_table
from interp import ConfigError, Run, ablate, activations, progress_measures
from interp.measures.logits import projection_shares
from interp.study.doubts import key_doubt

PAPER = "Nanda et al. (2023)"


def main(run: Run, out: Path) -> list[Path]:
    return write_table(claims(run), out, "claims")


def claims(run: Run) -> pd.DataFrame:
    """Return a row for each claim: the paper's value, this run's, whether they agree, and the function behind it.

    The claims are about a network that has grokked. For another network, a value in the paper's range is "doubtful"
    instead of "yes", and a last column says why.
    """
    ckpt = run[-1]
    m, ph = progress_measures(ckpt), over_training(run)[1]
    keys = m.key_frequencies or ()
    subject = ckpt.subject()
    doubt = m.key_doubt or key_doubt(subject)  # the frequencies may be those of an earlier checkpoint
    acts = activations(ckpt)
    if acts.neurons is None:
        raise ConfigError("the claims need a model with neurons; this one has none.")
    read = projection_shares(acts.neurons, subject.W_L, run.task.labels, keys)
    least = min((share for both in read.values() for share in both if share == share), default=float("nan"))
    bridge = ckpt.model()
    others = ablate.logits(ckpt, keep=keys, bridge=bridge)
    without = {k: ablate.logits(ckpt, remove=[k], bridge=bridge) for k in keys}
    rise = min((lost.after.loss / max(lost.before.loss, 1e-300) for lost in without.values()), default=0.0)
    paper_ends = (1_400, 9_400, 14_000)
    ends = (ph.memorization_end, ph.circuit_formation_end, ph.cleanup_end)
    single, explained, inside = (
        m.single_frequency_neurons or 0.0, m.logit_variance_explained or 0.0, m.neuron_logit_key_share or 0.0,
    )  # fmt: skip
    rows = [
        ("five key frequencies", "5", f"{len(keys)}: {', '.join(map(str, keys)) or 'none'}", len(keys) == 5,
         "progress_measures(run).key_frequencies"),
        ("neurons of which one frequency explains more than 85 %", "about 85 %", f"{single:.1%}",
         abs(single - 0.85) < 0.1, "progress_measures(run).single_frequency_neurons"),
        ("variance of the logits in the key cosines", "95 %", f"{explained:.1%}", explained >= 0.93,
         "progress_measures(run).logit_variance_explained"),
        (f"share of W_L in {2 * len(keys)} directions, two a key frequency", "nearly all", f"{inside:.2%}",
         inside > 0.95, "progress_measures(run).neuron_logit_key_share"),
        ("neurons along u_k and v_k that are multiples of cos and sin w_k(a+b)", "above 90 % each",
         f"{least:.1%} at the least", least > 0.9, "measures.logits.projection_shares"),
        ("without all other frequencies, loss", "falls", f"{others.before.loss:.2e} → {others.after.loss:.2e}",
         others.after.loss < 0.9 * others.before.loss, "ablate.logits(ckpt, keep=keys)"),
        ("without one key frequency, loss", "rises", _risen(without), rise > 10, "ablate.logits(ckpt, remove=[k])"),
        ("memorization, circuit formation and cleanup end at", "1,400; 9,400; 14,000",
         "; ".join("never" if end is None else f"{end:,}" for end in ends),
         all(end is not None and abs(end / said - 1) < 0.1 for end, said in zip(ends, paper_ends, strict=True)),
         "phases(run)"),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["claim", PAPER, "this run", "agrees", "computed by"])
    words = {True: "yes", False: "no"} if doubt is None else {True: "doubtful", False: "no"}
    table["agrees"] = table["agrees"].map(words)
    if doubt is not None:
        table["doubt"] = f"the claims are about a network that generalizes; {doubt}"
    return table


def _risen(without: dict[int, ablate.Effect]) -> str:
    """Return in words how far loss rises and accuracy falls without one key frequency."""
    if not without:
        return "no key frequency"
    loss = {k: lost.after.loss for k, lost in without.items()}
    least, most = min(loss, key=loss.__getitem__), max(loss, key=loss.__getitem__)
    worst = min(without, key=lambda k: without[k].after.accuracy)
    before = without[least].before
    return (
        f"from {before.loss:.1e} to {loss[least]:.1e} (without {least}) to {loss[most]:.1e} (without {most}); accuracy "
        f"from {before.accuracy:.4f} to {without[worst].after.accuracy:.4f} at the least (without {worst})"
    )
