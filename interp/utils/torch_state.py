"""computing(): the state of torch and numpy that interp computes under, independent of its caller's."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch

P = ParamSpec("P")
R = TypeVar("R")

_AUTOCAST = ("cpu", "cuda", "mps", "xpu")
_RENAMED = hasattr(torch.backends.cuda.matmul, "fp32_precision")  # by torch 2.9, which refuses to mix the two names


class computing:  # noqa: N801 (it reads as a statement: with computing(): ...)
    """Set the state that interp's computations depend on, and restore the caller's afterwards.

    Within, tensors are by default float32, on the CPU, and ordinary (no inference mode); no autocast acts; float32
    matrix products are taken in full float32; numpy warns as it does by default. As a decorator, `@computing()`, it
    holds for each call of a function. Do not `yield` within it: it would hold for the caller's code too. It costs about
    ten microseconds, too much for inner loops.

    Args:
        grad: True or False turns gradients on or off. None keeps the caller's setting, and does nothing at all within
            another `computing` of the same thread.
    """

    def __init__(self, grad: bool | None = False) -> None:
        self._grad = grad

    def __enter__(self) -> None:
        self._undo: list[Callable[[], object]] = []
        if self._grad is None and _of_thread.inside:
            return
        try:
            self._state(self._undo.append)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        while self._undo:
            self._undo.pop()()

    def _state(self, afterwards: Callable[[Callable[[], object]], None]) -> None:
        grad = torch.is_grad_enabled()
        wanted = grad if self._grad is None else self._grad
        if torch.is_inference_mode_enabled():
            _enter(torch.inference_mode(False), afterwards)  # which turns gradients on
            grad = True
        if grad != wanted:
            torch.set_grad_enabled(wanted)
            afterwards(partial(torch.set_grad_enabled, grad))
        for kind in _AUTOCAST:
            if torch.is_autocast_enabled(kind):
                _enter(torch.autocast(kind, enabled=False), afterwards)
        for shared in (_of_process, _of_thread):
            shared.enter()
            afterwards(shared.leave)
        if torch.empty(0).device.type != "cpu":  # a device context makes every call of torch slower
            _enter(torch.device("cpu"), afterwards)
        _enter(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"), afterwards)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        # Not contextlib's decorator, whose frame a warning would name as its caller.
        @wraps(function)
        def stated(*args: P.args, **kwargs: P.kwargs) -> R:
            with computing(self._grad):
                return function(*args, **kwargs)

        return stated


def _enter(
    context: contextlib.AbstractContextManager[object], afterwards: Callable[[Callable[[], object]], None]
) -> None:
    context.__enter__()
    afterwards(partial(context.__exit__, None, None, None))


class _OfThread(threading.local):
    """The number of `computing` contexts that the thread is in."""

    inside = 0

    def enter(self) -> None:
        self.inside += 1

    def leave(self) -> None:
        self.inside -= 1


class _OfProcess:
    """The state that all threads share: the default dtype, and the precision of float32 matrix products.

    The first thread to enter sets it, and the last to leave restores the caller's.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._restore = contextlib.ExitStack()

    def enter(self) -> None:
        with self._lock:
            if not self._inside:
                if (dtype := torch.get_default_dtype()) != torch.float32:
                    self._restore.callback(torch.set_default_dtype, dtype)
                    torch.set_default_dtype(torch.float32)
                _full_precision(self._restore)
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._restore.close()


def _full_precision(restore: contextlib.ExitStack) -> None:
    """Set matrix products to full float32: TF32 or bfloat16 would drown the small losses."""
    if not _RENAMED:
        if (precision := torch.get_float32_matmul_precision()) != "highest":
            restore.callback(torch.set_float32_matmul_precision, precision)
            torch.set_float32_matmul_precision("highest")
        return
    all_of_torch: Any = torch.backends
    for backend in (torch.backends.mkldnn, torch.backends.cuda):
        precision = backend.matmul.fp32_precision
        if precision not in ("none", "ieee"):
            # "none" follows the switches of the backend and of torch, as before.
            above = getattr(backend, "fp32_precision", all_of_torch.fp32_precision)
            restore.callback(setattr, backend.matmul, "fp32_precision", "none" if precision == above else precision)
            backend.matmul.fp32_precision = "ieee"


_of_process, _of_thread = _OfProcess(), _OfThread()
