"""Progress measures, one module per topic: functions of arrays first, then measures of a Subject.

list_measures() lists them in the order of these imports.
"""

from interp.measures import losses, logits, embedding, weights, neurons, attention, mechanism, registry  # noqa: I001
from interp.subjects import subject

__all__ = ["attention", "embedding", "logits", "losses", "mechanism", "neurons", "registry", "subject", "weights"]
