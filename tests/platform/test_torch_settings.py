"""What the caller has set in torch is kept out of a call, and put back, in every thread."""

from __future__ import annotations

import threading

import pytest
import torch
from global_state import state_is_kept

from sknn._platform import _torch_settings
from sknn._platform._torch_settings import (
    exact_products,
    usual_constructors,
    usual_dtype,
    usual_settings,
)

CPU = torch.device("cpu")


@pytest.fixture
def float64_is_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_body_has_torchs_own_settings_and_the_caller_has_theirs_again():
    settings = (torch.inference_mode(), torch.autocast("cpu"), torch.device("meta"))
    with settings[0], settings[1], settings[2], state_is_kept():
        with pytest.raises(KeyError), usual_settings("cpu"):
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_autocast_enabled("cpu")
            assert torch.empty(0).device == CPU
            raise KeyError
    with torch.no_grad(), state_is_kept(), usual_settings(CPU):
        assert torch.is_grad_enabled()


def test_device_of_a_fit_is_the_default_only_where_the_caller_has_set_another():
    with usual_settings("meta"):
        assert torch.empty(0).device == CPU
    with torch.device("meta"), usual_settings("meta"):
        assert torch.empty(0).device.type == "meta"
    with torch.device("meta"), usual_constructors():
        assert torch.empty(0).device == CPU


def test_default_dtype_of_the_caller_is_seen_but_by_constructors(float64_is_default):
    with usual_settings(CPU):
        assert torch.get_default_dtype() == torch.float64
    with usual_constructors():
        assert torch.get_default_dtype() == torch.float32
    with pytest.raises(KeyError), usual_dtype():
        raise KeyError
    assert torch.get_default_dtype() == torch.float64


def test_nothing_is_made_where_nothing_is_to_be_changed():
    assert exact_products(CPU) is exact_products(CPU) is _torch_settings._NOTHING


def test_setting_of_the_process_is_put_back_by_the_last_of_several_threads(float64_is_default):
    inside, leave, seen = threading.Event(), threading.Event(), {}

    def other():
        with usual_dtype():
            inside.set()
            assert leave.wait(10)
            seen["inside"] = torch.get_default_dtype()
        seen["after"] = torch.get_default_dtype()

    thread = threading.Thread(target=other)
    with usual_dtype():
        thread.start()
        assert inside.wait(10)
    # This body has ended, the other one not.
    assert torch.get_default_dtype() == torch.float32
    leave.set()
    thread.join()
    assert seen == {"inside": torch.float32, "after": torch.float64}
    assert torch.get_default_dtype() == torch.float64
