"""Run code with torch's default settings, so that the caller's settings do not change results.

Grad mode, inference mode, autocast and the default device belong to a thread. The default dtype and
the precision of float32 products belong to the process. If calls overlap in several threads, the
last one to end restores the settings of the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch

from sknn._platform import _compat

_NOTHING = nullcontext()


class _ProcessSetting:
    """A setting of the process that has a default value while a body runs in any thread.

    Parameters
    ----------
    get, set_ : callable
        Functions that read and change the setting.
    defaults : tuple
        Values that are not changed. Any other value is replaced by the first of these.
    """

    def __init__(
        self, get: Callable[[], Any], set_: Callable[[Any], None], defaults: tuple[Any, ...]
    ) -> None:
        self._get, self._set, self._defaults = get, set_, defaults
        self._lock = threading.Lock()
        self._n_active = 0
        self._before: Any = None

    def is_default(self) -> bool:
        """Return whether the setting has a default value, and no other body has changed it."""
        return not self._n_active and self._get() in self._defaults

    @contextmanager
    def at_default(self) -> Iterator[None]:
        """Run the body with a default value of the setting."""
        if self.is_default():
            yield
            return
        entered = False
        try:
            with self._lock:
                if not self._n_active:
                    self._before = self._get()
                self._n_active, entered = self._n_active + 1, True
                self._set(self._defaults[0])
            yield
        finally:
            if entered:
                with self._lock:
                    self._n_active -= 1
                    if not self._n_active:
                        self._set(self._before)


# Products of lower precision than float32 would leave three correct digits. A user who wants them
# sets dtype="bfloat16".
_products = _ProcessSetting(
    _compat.cpu_product_precision, _compat.set_cpu_product_precision, _compat.EXACT
)
_dtype = _ProcessSetting(torch.get_default_dtype, torch.set_default_dtype, (torch.float32,))


def exact_products(device: torch.device) -> AbstractContextManager[Any]:
    """Run the body in the precision of its tensors: without autocast, and with float32 products.

    On devices other than a CPU, the user's setting for the precision of float32 products applies.
    """
    is_cast = _is_cast(device.type)
    if not is_cast and _products.is_default():
        return _NOTHING
    stack = ExitStack()
    stack.enter_context(_products.at_default())
    if is_cast:
        stack.enter_context(torch.autocast(device.type, enabled=False))
    return stack


def _is_cast(kind: str) -> bool:
    """Return whether autocast is on in this thread for a type of device."""
    is_known = kind == "cpu" or torch.amp.is_autocast_available(kind)
    return is_known and torch.is_autocast_enabled(kind)


@contextmanager
def default_settings(device: torch.device | str) -> Iterator[None]:
    """Run the body with torch's default settings, except for the default dtype.

    Parameters
    ----------
    device : torch.device or str
        The default device in the body, if the caller has set one other than the CPU.
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
def float32_on_cpu_as_default() -> Iterator[None]:
    """Run the body, which creates modules, with float32 and the CPU as torch's defaults."""
    with ExitStack() as stack:
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(float32_as_default())
        yield


def float32_as_default() -> AbstractContextManager[None]:
    """Run the body with float32 as torch's default dtype.

    Torch's optimizers keep their scalars in float32 then. With float64 as the default, they keep
    them in float64.
    """
    return _dtype.at_default()


def is_float32_default() -> bool:
    """Return whether the default dtype is float32, so that `float32_as_default` changes nothing."""
    return _dtype.is_default()
