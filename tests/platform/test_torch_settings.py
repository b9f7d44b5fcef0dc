"""The caller's settings of torch do not apply in a call, and are restored, in every thread."""

from __future__ import annotations

import threading

import pytest
import torch
from global_state import state_is_kept

from sknn._platform import _torch_settings
from sknn._platform._torch_settings import (
    default_settings,
    exact_products,
    float32_as_default,
    float32_on_cpu_as_default,
)

CPU = torch.device("cpu")


@pytest.fixture
def float64_is_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_body_has_torchs_default_settings_and_the_callers_are_restored():
    settings = (torch.inference_mode(), torch.autocast("cpu"), torch.device("meta"))
    with settings[0], settings[1], settings[2], state_is_kept():
        with pytest.raises(KeyError), default_settings("cpu"):
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_autocast_enabled("cpu")
            assert torch.empty(0).device == CPU
            raise KeyError
    with torch.no_grad(), state_is_kept(), default_settings(CPU):
        assert torch.is_grad_enabled()


def test_device_of_a_fit_is_the_default_only_where_the_caller_has_set_another():
    with default_settings("meta"):
        assert torch.empty(0).device == CPU
    with torch.device("meta"), default_settings("meta"):
        assert torch.empty(0).device.type == "meta"
    with torch.device("meta"), float32_on_cpu_as_default():
        assert torch.empty(0).device == CPU


def test_callers_default_dtype_applies_except_to_constructors(float64_is_default):
    with default_settings(CPU):
        assert torch.get_default_dtype() == torch.float64
    with float32_on_cpu_as_default():
        assert torch.get_default_dtype() == torch.float32
    with pytest.raises(KeyError), float32_as_default():
        raise KeyError
    assert torch.get_default_dtype() == torch.float64


def test_exact_products_creates_nothing_if_no_setting_has_to_change():
    assert exact_products(CPU) is exact_products(CPU) is _torch_settings._NOTHING


def test_setting_of_the_process_is_restored_by_the_last_of_several_threads(float64_is_default):
    inside, leave, seen = threading.Event(), threading.Event(), {}

    def other():
        with float32_as_default():
            inside.set()
            assert leave.wait(10)
            seen["inside"] = torch.get_default_dtype()
        seen["after"] = torch.get_default_dtype()

    thread = threading.Thread(target=other)
    with float32_as_default():
        thread.start()
        assert inside.wait(10)
    # This body has ended; the other one has not.
    assert torch.get_default_dtype() == torch.float32
    leave.set()
    thread.join()
    assert seen == {"inside": torch.float32, "after": torch.float64}
    assert torch.get_default_dtype() == torch.float64
