"""The fault program kills at functions by name: each must be one that there is."""

from __future__ import annotations

from importlib import import_module
from operator import attrgetter

import pytest
from faults.kills import POINTS
from faults.workers import CALLS


@pytest.mark.parametrize("call", [*(point.call for point in POINTS), *CALLS])
def test_a_named_point_is_a_function(call: str) -> None:
    module, function, when, number = call.split(":")
    assert callable(attrgetter(function)(import_module(module)))
    assert when in ("before", "after")
    assert int(number) >= 1
