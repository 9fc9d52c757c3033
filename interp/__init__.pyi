"""The public names of interp and the modules that define them; `interp/__init__.py` imports each at its first use."""

from . import (
    ablate as ablate,
    fourier as fourier,
    linear as linear,
    measures as measures,
    networks as networks,
    plot as plot,
)
from .all_pairs import (
    Activations as Activations,
    hooked_activations as hooked_activations,
)
from .animations import (
    Animation as Animation,
    animate as animate,
)
from .callables import (
    Model as Model,
)
from .comparisons import (
    effects as effects,
)
from .config import (
    TrainConfig as TrainConfig,
)
from .drawing import (
    figures as figures,
    list_figures as list_figures,
)
from .ensembles import (
    ensemble as ensemble,
)
from .errors import (
    CheckpointError as CheckpointError,
    ConfigError as ConfigError,
    InterpError as InterpError,
    StorageError as StorageError,
    TrainingError as TrainingError,
)
from .events import (
    Phases as Phases,
    phases as phases,
)
from .exponents import (
    fit_exponents as fit_exponents,
)
from .graduations import (
    Graduation as Graduation,
    graduation as graduation,
)
from .logs import (
    read_log as read_log,
)
from .measures.registry import (
    list_measures as list_measures,
    measure as measure,
)
from .measures.subject import (
    Missing as Missing,
    Subject as Subject,
    quantity as quantity,
)
from .networks.base import (
    Network as Network,
    network as network,
)
from .networks.layers import (
    LayeredTransformer as LayeredTransformer,
)
from .networks.one_hidden_layer import (
    OneHiddenLayer as OneHiddenLayer,
)
from .networks.transformer import (
    Transformer as Transformer,
)
from .plot.declared import (
    figure as figure,
)
from .progress import (
    ProgressMeasures as ProgressMeasures,
    compare as compare,
    progress_measures as progress_measures,
)
from .published.converting import (
    convert as convert,
)
from .published.loading import (
    load_checkpoint as load_checkpoint,
    load_run as load_run,
)
from .recorder import (
    Recorder as Recorder,
)
from .reports.neighbours import (
    neighbours_report as neighbours_report,
)
from .reports.report import (
    Report as Report,
    report as report,
)
from .reports.sweeps import (
    save_sweep_report as save_sweep_report,
)
from .run import (
    Checkpoint as Checkpoint,
    Run as Run,
)
from .run_activations import (
    activations as activations,
)
from .shipped import (
    demo_run as demo_run,
)
from .survival import (
    outcomes as outcomes,
)
from .sweeps.running import (
    sweep as sweep,
)
from .sweeps.table import (
    Sweep as Sweep,
    load_sweep as load_sweep,
)
from .task import (
    Task as Task,
    split_mask as split_mask,
)
from .training import (
    TrainingInterrupted as TrainingInterrupted,
    train as train,
)
from .trajectories import (
    Arrays as Arrays,
    trajectory as trajectory,
)

__version__: str
