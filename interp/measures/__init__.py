"""Progress measures as functions of arrays: one module a subject, no files, no models, no plots."""

from interp.measures import attention, embedding, logits, losses, mechanism, neurons, weights

__all__ = ["attention", "embedding", "logits", "losses", "mechanism", "neurons", "weights"]
