"""Settings: every setting of a training run with its type, default and meaning, and the names that others give it.

Importing this loads no torch. `TrainConfig` checks the settings; the shell makes its options of them.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from interp.networks.names import Init, TransformerActivation
from interp.tasks.operations import PAPER_FRACTION, Operation, Split

if TYPE_CHECKING:
    from interp.networks.base import Network
    from interp.tasks.splits import SplitLike

    NetworkLike = Network | str | Mapping[str, Any]

# Settings that were found by a sweep. Of "fast", 20 seeds were trained six times each: with first weights changed by
# one part in ten million in three ways, on one thread and on two. All 120 runs memorize by step 80 and generalize
# between steps 310 and 1,910, at least five times later.
# (python -m benchmarks.rounding runs/preset --preset fast --set seed=0:20 --threads 1 2 --stop-when generalized; its
# table is checkpoints/rounding/preset-fast.parquet)
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {
        "p": 37, "train_fraction": 0.6, "d_model": 64, "d_mlp": 256, "learning_rate": 4e-3, "steps": 4_000,
    },
}  # fmt: skip

Optimizer = Literal["adamw", "sgd", "muon"]
Schedule = Literal["constant", "cosine", "linear"]
Loss = Literal["cross_entropy", "stablemax"]
MuonFactor = Literal["out/in", "rows/columns"]
GrokfastStart = Literal["first_gradient", "zero"]


@dataclass(frozen=True)
class Settings:
    """All settings of a run; `TrainConfig()` is the mainline of Nanda et al. (2023), which groks near step 10,000.

    TrainConfig(p=31, train_fraction=0.8, d_model=64, d_mlp=256, learning_rate=3e-3, steps=1_000) groks at steps 320 to
    330, in ten seconds. (To grok is to reach a test accuracy of 0.99. Rounding alone moves the step, so other
    processors give others; ranges are those of six copies whose first weights differ by one part in ten million.)

    Raises:
        ConfigError: TrainConfig cannot use a value. Training with a setting that has no effect under the others, such
            as momentum=0 with AdamW, is refused too (`interp.train`, `interp.sweep`).

    Attributes:
        p: Modulus, at least 2.
        operation: Task, modulo p: a + b ("add"), a - b ("subtract"), a² + ab + b² ("quadratic"), or random labels
            ("random").
        train_fraction: Share of the p*p pairs to train on, between 0 and 1. Below p = 89 give more than 0.3, or the
            run groks late or never: 0.5 for p = 59, 0.7 for p = 31.

            p = 31 generalizes at steps 1,070 to 1,230 with 0.8, 1,390 to 3,370 with 0.7, 3,200 to 4,180 with 0.6, and
            by 5,000 not with 0.5; p = 59 (seed 3) at 1,080 to 1,110 with 0.5; p = 113 at 9,600 to 11,390 with 0.3. (A
            test accuracy of 0.95 comes at 850 to 1,040, 1,090 to 1,450 and 2,560 to 2,800, with 0.5 not either; for
            p = 59 at 940 to 980.) Of 58 public histories of 40,000 steps with 0.3, of other people's code, none of 8
            of p ≤ 31 generalizes, 3 of 10 of p = 43, 8 of 12 of p = 59 and 67, both of p = 89, and 21 of 26 of p = 113
            (these with several networks and decays). At 0.95 it is none, 5, 12, both and 22.
        split: How the train pairs are drawn: Python's shuffle ("paper"), or torch.randperm ("torch").

            In Python it may be the train pairs themselves, as a bool mask [p, p] or as indices a * p + b. They are kept
            as a tuple of indices and set train_fraction.
        seed: Seed of the initial weights, of random labels, and of the split unless `split_seed` is given.
        split_seed: Seed of the split alone. None: the same as `seed`.
        network: Network: "one_hidden_layer", "layered_transformer", "transformer", or the name of one of yours. None:
            the transformer of the next five settings.

            In Python it may be an interp.Network, or a dict of its name and sizes, such as
            {"network": "one_hidden_layer", "d_hidden": 128}.
        d_model: Width of the residual stream.
        n_heads: Number of attention heads; each is d_model / n_heads wide.
        d_mlp: Number of neurons of the MLP; the transformer has one layer.
        activation: Activation function of the neurons; "gelu_new" is GELU approximated by tanh.
        init: Initial weights: drawn as in the paper ("paper"), or as TransformerLens draws them ("transformer_lens":
            its gpt2 mode, with trained attention biases).
        steps: Number of updates; checkpoint s holds the weights after s of them.
        learning_rate: Learning rate after the warmup.
        betas: Both betas of AdamW.
        weight_decay: Weight decay, on the weights that `weight_decay_on` names.
        warmup_steps: Number of updates over which the learning rate grows linearly from 0.
        optimizer: Optimizer, all torch's: "adamw" (with eps 1e-8), "sgd" (with `momentum`), or "muon" on the matrices
            and AdamW on the rest.

            SGD takes weight decay as an L2 penalty, and needs other numbers than the defaults, such as
            learning_rate=0.1 and weight_decay=1e-4. Muon, with `momentum` (Nesterov's), updates the matrices between
            embedding and unembedding (each head's by itself, but in a LayeredTransformer).
        momentum: Momentum of SGD and Muon.
        muon_learning_rate: Learning rate of the matrices that Muon updates, with the same warmup and schedule; their
            weight decay goes by it too. None: the same as `learning_rate`.
        muon_factor: Factor by which Muon multiplies the step of a matrix: √max(1, outputs/inputs) ("out/in"), or
            √max(1, rows/columns) of the weight as it is stored ("rows/columns"), as older versions of interp did.

            "out/in" is that of Jordan et al. (Muon, 2024). "rows/columns" is transposed where weights are [in, out]
            (`Network.out_first`), and takes the biases of all heads for a matrix.
        weight_decay_on: Weights that decay: "all", or names with + between them, as in "W_E+W_U".
        l1: Factor of an L1 term, which adds the sum of all absolute weights to the loss that is minimized.
        lr_schedule: Learning rate after the warmup: "constant", or falling to 0 at the last step ("cosine", "linear").
        batch_size: Number of train pairs in each update, from a new shuffle each epoch. None: all.
        dropout: Share of neurons that are 0 in each update; the rest is scaled up. Losses are recorded without it.
        attention_dropout: Share of the entries of attention patterns that are 0 in each update; the rest is scaled up.
            Losses are recorded without it.
        label_noise: Share of train pairs that get a wrong label.

            The history's train columns are those of the labels trained on; measures and test pairs have the right ones.
        init_scale: Factor α by which all initial weights are multiplied (Liu et al., Omnigrok, 2023).
        fixed_norm: Scale all weights back to their first norm after each update (Liu et al., Omnigrok, 2023).
        loss: Loss: "cross_entropy", or "stablemax" (Prieto et al., 2025).

            StableMax has s(x) in place of eˣ: x + 1 from 0 on, else 1/(1 − x).
        orthogonal_gradient: Remove from the gradient of each weight its component along that weight (⊥Grad, Prieto et
            al., 2025).
        orthogonal_rescaled: With `orthogonal_gradient`, scale the rest of each gradient back to the norm that it had,
            as in the authors' code.
        grokfast: Amplification λ: the gradient gets λ times its moving average added (Lee et al., Grokfast, 2024, the
            EMA variant).
        grokfast_decay: Decay α of that moving average per step.
        grokfast_start: Start of that moving average: "first_gradient", as in the authors' code, or "zero", as in older
            versions of interp.
        checkpoint_steps: Steps to save, the last beside them. None: 0, 1, 2, 5, 10, 20, 50, 100, then every 200.
        history_every: Number of steps between two rows of the history. Its losses and accuracies count "=" among the
            outputs.
        device: Where to train: "cpu", "cuda", "cuda:1", "mps"; or "auto": cuda if there is one, else mps, else cpu.
    """

    p: int = 113
    operation: Operation = "add"
    train_fraction: float = PAPER_FRACTION
    split: SplitLike = "paper"
    seed: int = 0
    split_seed: int | None = None
    network: NetworkLike | None = None
    d_model: int = 128
    n_heads: int = 4
    d_mlp: int = 512
    activation: TransformerActivation = "relu"
    init: Init = "paper"
    steps: int = 16_000
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 1.0
    warmup_steps: int = 10
    optimizer: Optimizer = "adamw"
    momentum: float = 0.9
    muon_learning_rate: float | None = None
    muon_factor: MuonFactor = "out/in"
    weight_decay_on: str = "all"
    l1: float = 0.0
    lr_schedule: Schedule = "constant"
    batch_size: int | None = None
    dropout: float = 0.0
    attention_dropout: float = 0.0
    label_noise: float = 0.0
    init_scale: float = 1.0
    fixed_norm: bool = False
    loss: Loss = "cross_entropy"
    orthogonal_gradient: bool = False
    orthogonal_rescaled: bool = False
    grokfast: float = 0.0
    grokfast_decay: float = 0.98
    grokfast_start: GrokfastStart = "first_gradient"
    checkpoint_steps: tuple[int, ...] | None = None
    history_every: int = 10
    device: str = "cpu"


class Setting(NamedTuple):
    """One setting as the shell and the files of sweeps know it; a split and a network are names there.

    Attributes:
        type: Its type, without None.
        optional: Whether it may be None.
        choices: The words that it may be; empty for any other type.
        default: Its default.
        meaning: The first paragraph of its entry in `Settings`.
    """

    type: Any
    optional: bool
    choices: tuple[str, ...]
    default: Any
    meaning: str


def _described() -> dict[str, Setting]:
    said = inspect.cleandoc(Settings.__doc__ or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", said, flags=re.MULTILINE)  # each to the end of a paragraph
    meanings = {name: " ".join(paragraph.split()) for name, paragraph in entries}
    types = get_type_hints(Settings, localns={"SplitLike": Split, "NetworkLike": str})
    found = {}
    for one in fields(Settings):
        own, optional = types[one.name], type(None) in get_args(types[one.name])
        if optional:
            own = next(kind for kind in get_args(own) if kind is not type(None))
        choices = get_args(own) if get_origin(own) is Literal else ()
        found[one.name] = Setting(own, optional, choices, one.default, meanings.get(one.name, ""))
    return found


SETTINGS = _described()

# Names of the settings in other people's code.
_MEANT = {
    "lr": "learning_rate", "wd": "weight_decay", "decay": "weight_decay", "beta": "betas", "beta1": "betas",
    "beta2": "betas", "adam_betas": "betas", "frac_train": "train_fraction", "train_frac": "train_fraction",
    "frac": "train_fraction", "fraction": "train_fraction", "epochs": "steps", "num_epochs": "steps",
    "n_epochs": "steps", "n_steps": "steps", "num_steps": "steps", "max_steps": "steps", "iterations": "steps",
    "modulus": "p", "mod": "p", "prime": "p", "n": "p", "hidden": "d_mlp", "d_hidden": "d_mlp", "hidden_size": "d_mlp",
    "width": "d_model", "d_embed": "d_model", "dim": "d_model", "heads": "n_heads", "num_heads": "n_heads",
    "d_head": "n_heads", "act": "activation", "act_fn": "activation", "fn": "operation", "fn_name": "operation",
    "op": "operation", "task": "operation", "warmup": "warmup_steps", "save_every": "checkpoint_steps",
    "checkpoint_every": "checkpoint_steps", "opt": "optimizer", "optim": "optimizer", "batch": "batch_size",
    "bs": "batch_size", "scheduler": "lr_schedule", "alpha": "init_scale", "loss_fn": "loss", "arch": "network",
    "architecture": "network", "model": "network", "log_every": "history_every", "random_seed": "seed",
    "muon_lr": "muon_learning_rate",
}  # fmt: skip


def nearest_settings(name: str) -> list[str]:
    """Return the settings that a name, as in `lr` or `--lr`, may mean; none if it is like no setting."""
    plain = name.lstrip("-").replace("-", "_").lower()
    return [_MEANT[plain]] if plain in _MEANT else difflib.get_close_matches(plain, SETTINGS, n=1)
