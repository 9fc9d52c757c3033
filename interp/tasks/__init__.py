"""Tasks: the labels that a network learns, splits into train and test pairs, and the Fourier basis of Z_p."""

import lazy_loader

# interp.fourier is found here; interp.tasks.operations loads no torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["fourier"])
