"""Progress measures, phases and circuits of small networks that grok.

run  = interp.load_run("checkpoints/mod113-seed0")
ckpt = run.at(9_000)                      # or interp.load_checkpoint("file.safetensors")
m    = interp.progress_measures(ckpt)     # every measure of one model
df   = interp.trajectory(run)             # a row a checkpoint
ph   = interp.phases(df)                  # memorization, circuit formation, cleanup
run  = interp.train(interp.TrainConfig(p=59, train_fraction=0.5, seed=3, steps=5_000), "runs/mine")  # two minutes

interp.linear.ridge and interp.linear.double_descent are related systems that can be solved.
"""

import lazy_loader

# The names stand in __init__.pyi. Each is imported at its first use, so that `import interp` does not load torch.
_named, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib import metadata

        return metadata.version("interp")
    return _named(name)
