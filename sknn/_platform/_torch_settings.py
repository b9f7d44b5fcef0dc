"""What the caller has set in torch, kept out of a call: results are the same everywhere.

Grad mode, inference mode, autocast and the default device belong to a thread; the default dtype and
the precision of float32 products to the process. The latter are put back when the last of the calls
that overlap in several threads has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch

from sknn._platform import _compat

_NOTHING = nullcontext()


class _ProcessWide:
    """A setting of the process, at a usual value while any body runs in any thread.

    Parameters
    ----------
    get, set_ : callable
    usual : tuple
        The values to leave alone; the first of them takes the place of another.
    """

    def __init__(
        self, get: Callable[[], Any], set_: Callable[[Any], None], usual: tuple[Any, ...]
    ) -> None:
        self._get, self._set, self._usual = get, set_, usual
        self._lock = threading.Lock()
        self._n_active = 0
        self._before: Any = None

    def is_usual(self) -> bool:
        """Whether there is nothing to change, or to keep changed."""
        return not self._n_active and self._get() in self._usual

    @contextmanager
    def made_usual(self) -> Iterator[None]:
        """Run the body with the usual value."""
        if self.is_usual():
            yield
            return
        entered = False
        try:
            with self._lock:
                if not self._n_active:
                    self._before = self._get()
                self._n_active, entered = self._n_active + 1, True
                self._set(self._usual[0])
            yield
        finally:
            if entered:
                with self._lock:
                    self._n_active -= 1
                    if not self._n_active:
                        self._set(self._before)


# Products of less than float32 would leave three digits; who wants them says dtype="bfloat16".
_products = _ProcessWide(
    _compat.cpu_product_precision, _compat.set_cpu_product_precision, _compat.EXACT
)
_dtype = _ProcessWide(torch.get_default_dtype, torch.set_default_dtype, (torch.float32,))


def exact_products(device: torch.device) -> AbstractContextManager[Any]:
    """Run the body in the precision of its tensors: without autocast, with float32 as it is.

    On other devices than a CPU the precision of float32 products stays the user's choice.
    """
    is_cast = _is_cast(device.type)
    if not is_cast and _products.is_usual():
        return _NOTHING
    stack = ExitStack()
    stack.enter_context(_products.made_usual())
    if is_cast:
        stack.enter_context(torch.autocast(device.type, enabled=False))
    return stack


def _is_cast(kind: str) -> bool:
    """Whether this thread is inside of autocast for a type of device."""
    is_known = kind == "cpu" or torch.amp.is_autocast_available(kind)
    return is_known and torch.is_autocast_enabled(kind)


@contextmanager
def usual_settings(device: torch.device | str) -> Iterator[None]:
    """Run the body as if the caller had set nothing in torch, but for the default dtype.

    Parameters
    ----------
    device : torch.device or str
        Where tensors are made that name no device, if the caller has set another than the CPU.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            stack.enter_context(torch.enable_grad())
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device(device))
        stack.enter_context(exact_products(torch.device(device)))
        yield


@contextmanager
def usual_constructors() -> Iterator[None]:
    """Run the body, which makes modules, with float32 on the CPU as torch's defaults."""
    with ExitStack() as stack:
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(usual_dtype())
        yield


def usual_dtype() -> AbstractContextManager[None]:
    """Run the body with float32 as torch's default dtype.

    Optimizers of torch keep their scalars in float32 then, and in float64 if that is the default.
    """
    return _dtype.made_usual()


def has_usual_dtype() -> bool:
    """Whether `usual_dtype` changes nothing."""
    return _dtype.is_usual()
