"""Networks: each is one dataclass of its sizes; all are trained, measured, hooked and drawn in the same way."""

import lazy_loader

# Names are imported at their first use, so that interp.networks.names loads no torch.
_named, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name == "NETWORKS":
        from interp.networks.base import networks

        return networks()
    return _named(name)
