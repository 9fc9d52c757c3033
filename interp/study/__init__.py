"""Studies of a network: its measures over training, its phases, its circuit; sources.py sorts what callers give."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["ablate"])  # interp.ablate is found here
