"""Errors of the user's code are raised with the name of the parameter that it came from."""

from __future__ import annotations

import sys

import pytest

from sknn._platform._user_code import blamed_on


class Own(Exception):
    """An exception of the user, with another signature than a message."""

    def __init__(self, code, text):
        super().__init__(code, text)


@pytest.mark.parametrize("kind", [ValueError, KeyError, StopIteration, AssertionError, OSError])
def test_built_in_exception_keeps_its_class_and_is_the_cause(kind):
    error = kind("broken")
    with pytest.raises(kind, match=rf"The 'x' parameter raised {kind.__name__}: .*broken") as info:  # noqa: SIM117
        with blamed_on("The 'x' parameter"):
            raise error
    assert type(info.value) is kind and info.value.__cause__ is error


def test_built_in_exception_that_a_message_does_not_make_becomes_a_runtime_error():
    error = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "broken")
    with pytest.raises(RuntimeError, match="raised UnicodeDecodeError: .*broken") as info:  # noqa: SIM117
        with blamed_on("The 'x' parameter"):
            raise error
    assert info.value.__cause__ is error


def test_attributes_of_a_built_in_exception_are_kept():
    with pytest.raises(FileNotFoundError) as info, blamed_on("The 'x' parameter"):
        open("/no/such/file")
    assert (info.value.errno, info.value.filename) == (2, "/no/such/file")
    assert "The 'x' parameter raised FileNotFoundError: [Errno 2]" in str(info.value)
    with pytest.raises(AttributeError) as info, blamed_on("The 'x' parameter"):
        "text".no_such_name  # noqa: B018
    assert (info.value.name, info.value.obj) == ("no_such_name", "text")


def test_other_exception_passes_with_a_note():
    error = Own(1, "broken")
    with pytest.raises(Own) as info, blamed_on("The 'x' parameter"):
        raise error
    assert info.value is error and error.__cause__ is None
    if sys.version_info >= (3, 11):
        assert error.__notes__ == ["The 'x' parameter raised Own: (1, 'broken')"]


def test_keyboard_interrupt_passes():
    with pytest.raises(KeyboardInterrupt) as info, blamed_on("The 'x' parameter"):
        raise KeyboardInterrupt
    assert not hasattr(info.value, "__notes__")
