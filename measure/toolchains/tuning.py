"""Tuning with MetaSchedule: records of fast schedules for the kernels of a network.

The database is MetaSchedule's own: a directory with two JSON files, to which every tuning adds.
Candidates are built and run in this process, one after the other. TVM's own builder and runner use
worker processes, from which no valid measurement came (TVM 0.27).
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import tvm
from tvm.s_tir import meta_schedule as ms
from tvm.s_tir.meta_schedule.runner.config import EvaluatorConfig
from tvm.s_tir.meta_schedule.runner.utils import alloc_argument_common, run_evaluator_common

from relay_frontend.errors import InputError
from relay_frontend.relax import kernels as relax_kernels
from relay_frontend.relax.importer import import_onnx

_WORKLOADS = "database_workload.json"
_RECORDS = "database_tuning_record.json"
_STRATEGY = "replay-trace"
_EVALUATOR = EvaluatorConfig(number=1, repeat=3, min_repeat_ms=10)
_DIGEST_LENGTH = 16
_FAILED_S = 1e9
"""MetaSchedule records more than this where a candidate failed."""


def tune(
    network: onnx.ModelProto, target: str, directory: Path, trials: int, *, seed: int = 0
) -> int:
    """Add records for the kernels of ``network`` to the database in ``directory``.

    Args:
        network: an ONNX model, with or without weights.
        target: a CPU that is this machine's, in TVM's JSON form with ``num-cores``.
        directory: made where it is missing.
        trials: candidates for each distinct kernel that has no record yet; with fewer than 4,
            better 8, kernels tend to stay as slow as they were.
        seed: of the random schedules.

    Returns:
        How many kernels were tuned.

    Raises:
        InputError: TVM does not know ``target``, or it is no CPU.
        NetworkError, DynamicShapeError: see :func:`relay_frontend.relax.importer.import_onnx`.
    """
    parsed = relax_kernels.parse_target(target)
    if parsed.kind.name != "llvm":
        raise InputError(f"target {target!r}: candidates are run here, on a CPU (kind 'llvm')")
    fused = relax_kernels.fuse(import_onnx(network), parsed)
    directory.mkdir(parents=True, exist_ok=True)
    known = records_for(directory, parsed)
    tasks = [
        task
        for task in ms.relax_integration.extract_tasks(fused.mod, parsed)
        if not known.has_workload(task.dispatched[0])
    ]
    if tasks:
        tune_tasks(tasks, directory, trials, seed=seed)
    return len(tasks)


def tune_tasks(tasks: Sequence[Any], directory: Path, trials: int, *, seed: int = 0) -> None:
    """Add records for tasks of MetaSchedule to the database in ``directory``.

    Args:
        tasks: each an ``ExtractedTask`` for a CPU that is this machine's.
        directory: made where it is missing.
        trials: candidates for each task; with fewer than 4, better 8, kernels tend to stay as slow
            as they were.
        seed: of the random schedules.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _quick_modules():
        importlib.import_module("tvm.s_tir.tensor_intrin")
    with tempfile.TemporaryDirectory() as scratch:
        contexts, weights = ms.relax_integration.extracted_tasks_to_tune_contexts(
            list(tasks), scratch, strategy=_STRATEGY, num_threads=1, seed=seed
        )
        ms.tune_tasks(
            tasks=contexts,
            task_weights=weights,
            work_dir=scratch,
            max_trials_global=trials * len(contexts),
            max_trials_per_task=trials,
            builder=_Builder(Path(scratch)),
            runner=_Runner(),
            database=ms.database.JSONDatabase(work_dir=str(directory)),
            cost_model="random",
            task_scheduler="round-robin",
        )


@contextmanager
def _quick_modules() -> Iterator[None]:
    """Remember the module of a source file while TVM parses its intrinsics.

    It asks for it tens of thousands of times, and Python goes through all modules each time, which
    makes minutes.
    """
    original = inspect.getmodule
    of_file = cache(lambda filename: original(None, filename))

    def getmodule(object: Any, _filename: str | None = None) -> Any:  # noqa: A002 - Python's name
        return of_file(_filename) if _filename else original(object)

    inspect.getmodule = getmodule
    try:
        yield
    finally:
        inspect.getmodule = original


def records_for(directory: Path, target: tvm.target.Target) -> ms.database.Database:
    """The valid records for ``target`` in the database in ``directory``, in memory.

    TVM would apply those for any other target too. A database is made where there is none.
    """
    chosen = ms.database.MemoryDatabase()
    for record in ms.database.JSONDatabase(work_dir=str(directory)).get_all_tuning_records():
        if str(record.target) == str(target) and max(map(float, record.run_secs)) < _FAILED_S:
            workload = chosen.commit_workload(record.workload.mod)
            chosen.commit_tuning_record(
                ms.database.TuningRecord(
                    record.trace, workload, record.run_secs, record.target, record.args_info
                )
            )
    return chosen


def database_digest(directory: Path) -> str:
    """A short hash of all records, to tell what was built with other ones.

    Raises:
        InputError: ``directory`` holds no database.
    """
    paths = [directory / name for name in (_WORKLOADS, _RECORDS)]
    if not all(path.is_file() for path in paths):
        raise InputError(
            f"{directory}: no MetaSchedule database ({_WORKLOADS}, {_RECORDS}); make one with "
            "measure.toolchains.tuning.tune"
        )
    content = b"\0".join(path.read_bytes() for path in paths)
    return hashlib.sha256(content).hexdigest()[:_DIGEST_LENGTH]


@tvm.ir.utils.derived_object
class _Builder(ms.builder.PyBuilder):  # type: ignore[misc]
    """Builds in this process, each library into a directory of its own, deleted with it."""

    def __init__(self, scratch: Path) -> None:
        super().__init__()
        self._scratch = scratch

    def build(self, build_inputs: list[Any]) -> list[Any]:
        return [self._build(build_input) for build_input in build_inputs]

    def _build(self, build_input: Any) -> Any:
        directory = tempfile.mkdtemp(dir=self._scratch)
        path = str(Path(directory) / "candidate.so")
        try:
            library = tvm.compile(build_input.mod, target=build_input.target)
            library.export_library(path)
        except Exception as error:  # noqa: BLE001 - an invalid schedule is no result
            return ms.builder.BuilderResult(None, str(error))
        return ms.builder.BuilderResult(path, None)


@tvm.ir.utils.derived_object
class _Runner(ms.runner.PyRunner):  # type: ignore[misc]
    """Runs in this process."""

    def run(self, runner_inputs: list[Any]) -> list[Any]:
        return [_Done(_run(runner_input)) for runner_input in runner_inputs]


@tvm.ir.utils.derived_object
class _Done(ms.runner.PyRunnerFuture):  # type: ignore[misc]
    def __init__(self, result: Any) -> None:
        super().__init__()
        self._result = result

    def done(self) -> bool:
        return True

    def result(self) -> Any:
        return self._result


def _run(runner_input: Any) -> Any:
    device = tvm.cpu(0)
    try:
        library = tvm.runtime.load_module(runner_input.artifact_path)
        arguments = alloc_argument_common(
            tvm.get_global_func("tvm.contrib.random.random_fill"),
            device,
            [info.as_json() for info in runner_input.args_info],
            alloc_repeat=1,
        )
        seconds = run_evaluator_common(library, device, _EVALUATOR, arguments)
    except Exception as error:  # noqa: BLE001 - an invalid schedule is no result
        return ms.runner.RunnerResult(None, str(error))
    return ms.runner.RunnerResult(seconds, None)
