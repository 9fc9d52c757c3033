"""Progress measures, phases and circuits of small networks that grok.

run  = interp.load_run("checkpoints/mod113-seed0")
ckpt = run.at(9_000)                      # or interp.load_checkpoint("file.safetensors")
m    = interp.progress_measures(ckpt)     # every measure of one model
df   = interp.trajectory(run)             # a row a checkpoint
ph   = interp.phases(df)                  # memorization, circuit formation, cleanup
run  = interp.train(interp.TrainConfig(seed=1), "runs/mine")

interp.linear.ridge and interp.linear.double_descent are the neighbours of grokking that can be solved.
"""

from interp import ablate, linear, plot
from interp.activations import Activations, activations, hooked_activations
from interp.config import MLPConfig, ModelConfig, TrainConfig
from interp.errors import CheckpointError, ConfigError, InterpError, TrainingError
from interp.phases import Phases, phases
from interp.progress import ProgressMeasures, compare, progress_measures, trajectory
from interp.published import convert, load_checkpoint, load_run
from interp.run import Checkpoint, Run
from interp.task import Task, split_mask
from interp.train import TrainingInterrupted, train

__all__ = [
    "Activations",
    "Checkpoint",
    "CheckpointError",
    "ConfigError",
    "InterpError",
    "MLPConfig",
    "ModelConfig",
    "Phases",
    "ProgressMeasures",
    "Run",
    "Task",
    "TrainConfig",
    "TrainingError",
    "TrainingInterrupted",
    "ablate",
    "activations",
    "compare",
    "convert",
    "hooked_activations",
    "linear",
    "load_checkpoint",
    "load_run",
    "phases",
    "plot",
    "progress_measures",
    "split_mask",
    "train",
    "trajectory",
]
