"""Whatever the caller has set, interp computes the same; and it leaves the caller's settings as they were."""

import contextlib

import numpy as np
import pytest
import torch

from interp.computing import computing


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def matmul_precision(setting):
    switches = [backend.matmul for backend in (torch.backends.mkldnn, torch.backends.cuda)]
    before = [switch.fp32_precision for switch in switches]
    torch.set_float32_matmul_precision(setting)
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.fp32_precision = value


HOSTILE = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "meta": lambda: torch.device("meta"),
    "set meta": lambda: default_device("meta"),
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "bfloat16 products": lambda: matmul_precision("medium"),
    "numpy raises": lambda: np.errstate(all="raise"),
}


def state():
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.empty(0).device,
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": [torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")],
        "products": [backend.matmul.fp32_precision for backend in (torch.backends.mkldnn, torch.backends.cuda)],
        "numpy": np.geterr(),
        "threads": torch.get_num_threads(),
        "random": torch.default_generator.get_state().tolist(),
    }


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("fails", [False, True])
def test_computing_states_all_of_it_and_restores_all_of_it(hostile, fails):
    plain = state()
    with HOSTILE[hostile]():
        before = state()
        assert before != plain
        for grad in (False, True):
            with contextlib.suppress(ZeroDivisionError), computing(grad):
                full = "none" if plain["products"] == before["products"] else "ieee"
                assert state() == plain | {"grad": grad, "products": [full, full]}
                if fails:
                    raise ZeroDivisionError
            assert state() == before
    assert state() == plain
