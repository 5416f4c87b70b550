"""Shares of tuning tasks: what ``task_weights`` predicts against what is measured.

    taskset -c 0 .venv/bin/python -m benchmarks.task_shares                     # ResNet-18, 64 px
    taskset -c 0 .venv/bin/python -m benchmarks.task_shares model.onnx --trials 16

Tunes the MetaSchedule tasks of a network, a few trials each, and times the kernel of every task as
TVM's default pipeline leaves it and as the best trial does, in rounds that go through all of them.
A share is calls x median over the sum of these. Beside the shares that each platform's predictor
gives stand those of FLOPs, which cost nothing. Prints shares, rank agreement and the total
variation distance (the part of the latency that is given to other tasks than it belongs to);
nothing passes or fails.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import tvm
from tvm.s_tir import meta_schedule as ms
from tvm.s_tir.analysis import estimate_tir_flops
from tvm.s_tir.meta_schedule.runner.utils import alloc_argument_common

from measure.toolchains import load_toolchain
from measure.toolchains.tuning import records_for, tune
from measure.zoo import resnet
from relay_frontend.relax.importer import import_onnx
from relay_frontend.relax.kernels import parse_target
from tvm_costmodel.compiler import TaskWeight, task_weights
from tvm_costmodel.evaluation.metrics import kendall_tau, spearman

Shares = npt.NDArray[np.float64]

_MIN_REPEAT_MS = 20


def one_core_target() -> str:
    """This machine's CPU, one core of it: shares must not depend on how busy the others are."""
    target = json.loads(load_toolchain("tvm-relax").default_target())
    return json.dumps({**target, "num-cores": 1})


def timer(mod: tvm.IRModule, target: tvm.target.Target) -> Callable[[], float]:
    """Compiles a PrimFunc; each call times it, in ms, on random data."""
    device = tvm.cpu(0)
    library = tvm.compile(mod, target=target)
    (arguments,) = alloc_argument_common(
        tvm.get_global_func("tvm.contrib.random.random_fill"),
        device,
        [info.as_json() for info in ms.arg_info.ArgInfo.from_entry_func(mod)],
        alloc_repeat=1,
    )
    evaluate = library.mod.time_evaluator(
        "main", device, number=1, repeat=1, min_repeat_ms=_MIN_REPEAT_MS
    )
    return lambda: 1e3 * float(evaluate(*arguments).mean)


def measured_ms(timers: Sequence[Callable[[], float]], rounds: int) -> Shares:
    """The median over ``rounds`` of what each kernel takes once, in ms, ``[num_kernels]``."""
    return np.median([[timer() for timer in timers] for _ in range(rounds)], axis=0)


def main() -> None:
    """Tune, time and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", nargs="?", type=Path, help="an ONNX file")
    parser.add_argument(
        "--platforms", nargs="+", default=["tvm-relax", "tvm-relay"], help="whose predictors to ask"
    )
    parser.add_argument("--trials", type=int, default=8, help="for each task")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--records", type=Path, help="directory of the records, kept for later")
    options = parser.parse_args()
    logging.disable(logging.INFO)  # MetaSchedule tells every step
    if options.network:
        network = onnx.load(options.network)
    else:
        network = resnet.build(resnet.ResNetConfig(input_size=64))
    target = one_core_target()
    mod = import_onnx(network)
    guesses = {name: task_weights(mod, name, target) for name in options.platforms}
    weights = guesses[options.platforms[0]]
    with tempfile.TemporaryDirectory() as scratch:
        records = options.records or Path(scratch)
        start = time.perf_counter()
        tune(network, target, records, options.trials)
        print(f"{target}, {len(weights)} tasks, {options.trials} trials each: ", end="")
        print(f"tuned in {time.perf_counter() - start:.0f} s")
        before, after = times(weights, parse_target(target), records, options.rounds)
    print(f"untuned {before.sum():.1f} ms, tuned {after.sum():.1f} ms in all kernels")
    print_shares(weights, shares_of(guesses, weights), before, after)


def times(
    weights: Sequence[TaskWeight], target: tvm.target.Target, records: Path, rounds: int
) -> tuple[Shares, Shares]:
    """Time of each task's calls in ms, ``[num_tasks]``, without a schedule and with the best."""
    database = records_for(records, target)
    plain = [weight.task.dispatched[0] for weight in weights]
    tuned = [scheduled(database, weight.task, target) for weight in weights]
    timers = [timer(mod, target) for mod in (*plain, *tuned)]
    calls = np.array([weight.calls for weight in weights])
    before, after = measured_ms(timers, rounds).reshape(2, -1) * calls
    return before, after


def scheduled(database: ms.database.Database, task: Any, target: tvm.target.Target) -> tvm.IRModule:
    """The task's kernel with the best schedule that was found."""
    found = database.query_ir_module(task.dispatched[0], target, task.task_name)
    if found is None:
        raise SystemExit(f"no trial of {task.task_name} was valid: give --trials more")
    return found


def shares_of(
    guesses: Mapping[str, Sequence[TaskWeight]], weights: Sequence[TaskWeight]
) -> dict[str, Shares]:
    """Shares by each guess in the order of ``weights``, ``[num_tasks]``; FLOPs are one more."""
    named = {
        name: {weight.name: weight.share for weight in guess} for name, guess in guesses.items()
    }
    flops = np.array([estimate_tir_flops(w.task.dispatched[0]) * w.calls for w in weights])
    return {
        **{name: np.array([share[w.name] for w in weights]) for name, share in named.items()},
        "FLOPs": flops / flops.sum(),
    }


def print_shares(
    weights: Sequence[TaskWeight], guesses: Mapping[str, Shares], before: Shares, after: Shares
) -> None:
    """A line for each task, in the order that the first guess gives, and then the agreement."""
    measured = {"untuned": before / before.sum(), "tuned": after / after.sum()}
    shares = {**guesses, **measured}
    width = max(len(weight.name) for weight in weights)
    print(f"{'task':<{width}} calls" + "".join(f"{name:>11}" for name in shares))
    for i, weight in enumerate(weights):
        figures = "".join(f"{100 * share[i]:>10.1f}%" for share in shares.values())
        print(f"{weight.name:<{width}} {weight.calls:>5}{figures}")
    print(f"{'':<24}{'Spearman':>10}{'Kendall':>10}{'distance':>10}")
    for guess, y_hat in guesses.items():
        for truth, y in measured.items():
            print(
                f"{guess + ' - ' + truth:<24}{spearman(y_hat, y):>10.2f}"
                f"{kendall_tau(y_hat, y):>10.2f}{distance(y_hat, y):>10.2f}"
            )


def distance(first: Shares, second: Shares) -> float:
    """Total variation distance of two divisions: half the sum of what they differ by, 0 to 1."""
    return float(abs(first - second).sum() / 2)


if __name__ == "__main__":
    main()
