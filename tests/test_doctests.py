"""The examples in docstrings compute what they say."""

import doctest
import importlib.util
import pkgutil

import pytest

import hedgeseg

MODULES = [
    module.name
    for module in pkgutil.walk_packages(hedgeseg.__path__, "hedgeseg.")
    if ">>> " in (importlib.util.find_spec(module.name).loader.get_source(module.name) or "")
]


def test_public_functions_have_examples():
    expected = {
        "hedgeseg.attribution.api", "hedgeseg.metrics.pointing_game", "hedgeseg.models.architectures",
        "hedgeseg.seeds.formats.native", "hedgeseg.seeds.generate", "hedgeseg.seeds.refine.crf", "hedgeseg.visual",
    }  # fmt: skip
    assert set(MODULES) >= expected


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    done = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert done.attempted > 0
    assert done.failed == 0
