"""Which of MetaSchedule's tuning tasks are worth their trials, told before any of them runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm

from relay_frontend import load, module_generation
from relay_frontend.errors import InputError, NetworkError
from relay_frontend.kernel import Kernel
from tvm_costmodel.compiler.models import PlatformOrModel, cost_model

LEAST_TRIALS = 8
"""With fewer, kernels tend to stay as slow as they were (:mod:`measure.toolchains.tuning`)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TaskWeight:
    """A tuning task and what it is worth.

    Args:
        task: the ``ExtractedTask`` of MetaSchedule.
        name: of the task, that of its PrimFunc.
        calls: how often one inference calls it.
        latency_ms: what all of its calls are predicted to take.
        share: the same as a part of all tasks; these add up to 1.
        trials: its part of the trials.
    """

    task: Any
    name: str
    calls: int
    latency_ms: float
    share: float
    trials: int


def task_weights(
    mod: tvm.IRModule,
    platform: PlatformOrModel,
    target: str | tvm.target.Target | None = None,
    *,
    trials: int = 0,
    least: int = LEAST_TRIALS,
    params: Collection[str] | None = None,
) -> list[TaskWeight]:
    """Tuning tasks of a Relax module, those first that take most of its predicted latency.

    The tasks are those that ``meta_schedule.relax_integration.extract_tasks`` finds in the fused
    module. What a task takes is the sum of what NAR-Former V2 predicts for the operators that its
    kernels compute (:func:`relay_frontend.kernels`); an operator of several kernels counts in each
    by its part of their FLOPs. It is a prediction for kernels as the platform has them: choose one
    whose kernels are scheduled as well as the tuned ones will be.

    Args:
        mod: a module before legalization, with or without weights.
        platform: name of the platform, or parts of it, or its cost model; its checkpoint must tell
            what operators add (readout ``contributions``).
        target: what is tuned for; by default this machine's CPU.
        trials: to be divided among the tasks: each gets ``least``, or an even part where there are
            not as many, and the rest goes by shares.
        least: trials of a task that hardly takes time.
        params: names of unbound parameters, see :meth:`tvm_costmodel.CostModel.estimate`.

    Raises:
        NetworkError: it is no Relax module, or cannot be read.
        InputError: negative trials; a target that TVM does not know; a checkpoint that does not
            tell what operators add.
        UnknownPlatformError, CheckpointError: see :meth:`tvm_costmodel.CostModel.load`.
    """
    if trials < 0 or least < 0:
        raise InputError(f"trials={trials}, least={least}: there cannot be fewer than 0")
    if (generation := module_generation(mod)) != "relax":
        found = type(mod).__name__ if generation is None else f"a {generation} module"
        raise NetworkError(f"MetaSchedule's tasks are those of a Relax module, not of {found}")
    from tvm.s_tir.meta_schedule import relax_integration  # noqa: PLC0415 (not in Relay's TVM)

    from relay_frontend.relax.kernels import parse_target  # noqa: PLC0415 (needs Relax)
    from relay_frontend.relax.members import fused_with_members  # noqa: PLC0415 (needs Relax)

    parsed = parse_target(_default_target() if target is None else target)
    model = cost_model(platform)
    fused, kernels = fused_with_members(mod, parsed, params)
    latencies = kernel_latencies(kernels, model.operator_latencies(load(mod, params=params)))
    tasks = relax_integration.extract_tasks(fused.mod, parsed)
    owners = _owners(tasks, fused.mod, {kernel.name for kernel in kernels})
    times, calls = np.zeros(len(tasks)), np.zeros(len(tasks), dtype=np.int64)
    for kernel, latency in zip(kernels, latencies, strict=True):
        times[owners[kernel.name]] += latency
        calls[owners[kernel.name]] += 1
    return _weighed(tasks, times, calls, trials, least)


def _weighed(
    tasks: Sequence[Any], times: np.ndarray, calls: np.ndarray, trials: int, least: int
) -> list[TaskWeight]:
    total = times.sum()
    shares = times / total if total > 0 else np.full(len(tasks), 1 / max(1, len(tasks)))
    budgets = budget(shares, trials, least)
    order = sorted(range(len(tasks)), key=lambda i: (-shares[i], str(tasks[i].task_name)))
    return [
        TaskWeight(
            task=tasks[i],
            name=str(tasks[i].task_name),
            calls=int(calls[i]),
            latency_ms=float(times[i]),
            share=float(shares[i]),
            trials=int(budgets[i]),
        )
        for i in order
    ]


def kernel_latencies(kernels: Sequence[Kernel], operators_ms: np.ndarray) -> np.ndarray:
    """What each of ``kernels`` takes in ms, ``[num_kernels]``, by what operators take.

    An operator of several kernels counts in each by its part of their FLOPs, all of its time in the
    end.
    """
    work = np.zeros(len(operators_ms))
    for kernel in kernels:
        work[list(kernel.operators)] += kernel.flops + 1
    return np.array(
        [
            sum(operators_ms[i] * (kernel.flops + 1) / work[i] for i in kernel.operators)
            for kernel in kernels
        ]
    )


def budget(shares: np.ndarray, trials: int, least: int) -> np.ndarray:
    """``trials`` divided among tasks of these ``shares``, ``[num_tasks]``; all of them are used."""
    count = len(shares)
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    even = min(least, trials // count)
    exact = shares * (trials - even * count)
    whole = np.floor(exact + 1e-9).astype(np.int64)
    missing = trials - even * count - int(whole.sum())
    largest = np.argsort(-(exact - whole), kind="stable")[:missing]
    whole[largest] += 1
    given: np.ndarray = whole + even
    return given


def _owners(tasks: Sequence[Any], mod: tvm.IRModule, names: Collection[str]) -> Mapping[str, int]:
    """The task of each kernel: MetaSchedule makes one task of all kernels that are equal."""
    named = {str(task.task_name): position for position, task in enumerate(tasks)}
    owners = {}
    for name in names:
        if name in named:
            owners[name] = named[name]
            continue
        function = mod[name].without_attr("global_symbol")
        equal = (
            position
            for position, task in enumerate(tasks)
            if tvm.ir.structural_equal(_function(task).without_attr("global_symbol"), function)
        )
        owners[name] = next(equal, -1)
        if owners[name] < 0:
            raise NetworkError(f"kernel {name} is in none of MetaSchedule's tasks")
    return owners


def _function(task: Any) -> Any:
    (function,) = task.dispatched[0].functions.values()
    return function


def _default_target() -> str:
    from measure.toolchains import load_toolchain  # noqa: PLC0415 (imports TVM's Relax)

    return load_toolchain("tvm-relax").default_target()
