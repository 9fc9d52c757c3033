"""The public names of interp and the modules that define them; `interp/__init__.py` imports each at its first use."""

from . import linear as linear, measures as measures, networks as networks, plot as plot
from .measures.registry import list_measures as list_measures, measure as measure
from .networks.base import Network as Network, network as network
from .networks.layers import LayeredTransformer as LayeredTransformer
from .networks.one_hidden_layer import OneHiddenLayer as OneHiddenLayer
from .networks.transformer import Transformer as Transformer
from .plot.declared import figure as figure
from .plot.drawing import figures as figures, list_figures as list_figures
from .reports.animations import Animation as Animation, animate as animate
from .reports.neighbours import neighbours_report as neighbours_report
from .reports.report import report as report
from .reports.run_page import Report as Report
from .reports.sweeps import save_sweep_report as save_sweep_report
from .runs.activations import activations as activations
from .runs.config import TrainConfig as TrainConfig
from .runs.converting import convert as convert
from .runs.loading import load_checkpoint as load_checkpoint, load_run as load_run
from .runs.logs import read_log as read_log
from .runs.run import Checkpoint as Checkpoint, Run as Run
from .runs.shipped import demo_run as demo_run
from .study import ablate as ablate
from .study.graduation import Graduation as Graduation, graduation as graduation
from .study.phase_table import Phases as Phases
from .study.phases import phases as phases
from .study.progress import compare as compare, progress_measures as progress_measures
from .study.progress_table import ProgressMeasures as ProgressMeasures
from .study.recorder import Recorder as Recorder
from .study.trajectory import Arrays as Arrays, trajectory as trajectory
from .subjects.activations import Activations as Activations
from .subjects.hooked import hooked_activations as hooked_activations
from .subjects.model import Model as Model
from .subjects.subject import Missing as Missing, Subject as Subject, quantity as quantity
from .sweeps.comparisons import effects as effects
from .sweeps.ensembles import ensemble as ensemble
from .sweeps.exponents import fit_exponents as fit_exponents
from .sweeps.running import sweep as sweep
from .sweeps.survival import outcomes as outcomes
from .sweeps.table import Sweep as Sweep, load_sweep as load_sweep
from .tasks import fourier as fourier
from .tasks.splits import split_mask as split_mask
from .tasks.task import Task as Task
from .training.loop import TrainingInterrupted as TrainingInterrupted, train as train
from .utils.errors import (
    CheckpointError as CheckpointError,
    ConfigError as ConfigError,
    InterpError as InterpError,
    StorageError as StorageError,
    TrainingError as TrainingError,
)

__version__: str
