"""Progress measures, a module a topic: functions of arrays, and then measures of a Subject. No files, no plots.

The modules are imported in the order in which results list their measures.
"""

from interp.measures import losses, logits, embedding, weights, neurons, attention, mechanism, registry  # noqa: I001
from interp.subjects import subject

__all__ = ["attention", "embedding", "logits", "losses", "mechanism", "neurons", "registry", "subject", "weights"]
