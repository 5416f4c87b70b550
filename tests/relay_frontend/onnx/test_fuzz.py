"""Broken and strange files: one of our errors or a graph, the same on both paths, and no crash.

``tools/fuzz.py`` tries many more, in processes of their own.
"""

from __future__ import annotations

import pytest

from tests.networks import DATA
from tests.relay_frontend.fuzzing import fuzz_case, outcome

CORPUS = sorted((DATA / "fuzz").glob("*.onnx"))
CASES = 300
BATCH = 50


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_once_failed_is_survived(path):
    outcome(path.read_bytes())


@pytest.mark.parametrize("first", range(0, CASES, BATCH))
def test_mutated_files_are_survived(first):
    outcomes = {outcome(fuzz_case(seed)) for seed in range(first, first + BATCH)}
    assert outcomes <= {"read", "NetworkError", "DynamicShapeError"}
    assert len(outcomes) > 1, "some are read, some are not"
