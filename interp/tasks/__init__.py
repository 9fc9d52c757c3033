"""Tasks: what a network learns, its splits into train and test pairs, and the waves over its elements."""

import lazy_loader

# interp.fourier is found here; interp.tasks.operations loads no torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["fourier"])
