"""Progress measures, one module per topic: functions of arrays first, then measures of a Subject."""

from interp.measures import attention, embedding, logits, losses, mechanism, neurons, registry, weights
from interp.subjects import subject

__all__ = ["attention", "embedding", "logits", "losses", "mechanism", "neurons", "registry", "subject", "weights"]
