"""Fitting and asking every predictor on every split with every seed, once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from relay_frontend.errors import CostModelError
from tvm_costmodel.datasets.dataset import Dataset
from tvm_costmodel.evaluation.candidates import Candidate
from tvm_costmodel.evaluation.conditions import conditions
from tvm_costmodel.evaluation.protocols import IntArray, Split, SplitProtocol, describe
from tvm_costmodel.evaluation.rows import (
    TEST,
    VALIDATION,
    Predictions,
    Run,
    RunInfo,
    RunKey,
    RunStore,
)
from tvm_costmodel.predictors.base import Combination, FitEvent, Predictor

State = Literal["begun", "fitting", "done", "known", "failed"]


class PredictionError(CostModelError):
    """A predictor answered something else than one finite number for each input."""


@dataclass(frozen=True, kw_only=True)
class RunEvent:
    """How far an evaluation is.

    Args:
        state: ``begun``, ``fitting`` (with ``fit``), ``done``, ``known`` (it was there before), or
            ``failed`` (with ``error``).
        key: the run.
        number: of the run, from 1.
        total: runs in all.
        fit: how far the fitting of this run is.
        error: why it failed.
        run: what has come out, where it is done or known.
    """

    state: State
    key: RunKey
    number: int
    total: int
    fit: FitEvent | None = None
    error: CostModelError | None = None
    run: Run | None = None


RunProgress = Callable[[RunEvent], None]


def evaluate(
    dataset: Dataset[Any],
    protocol: SplitProtocol,
    candidates: Sequence[Candidate],
    seeds: Sequence[int],
    store: RunStore,
    progress: RunProgress = lambda _event: None,
) -> list[Run]:
    """Do the runs that ``store`` lacks, and give all of them.

    A predictor that does not look at the seed is run once, with the first. Finished runs are
    written at once, so that an evaluation may be killed and started again. Several processes may
    share ``store`` and the work: each does what no other does, and waits for the rest at the end. A
    predictor that fails is told of and tried again the next time; the others go on. A combination
    of predictors takes their runs, and does those that are missing.

    Args:
        dataset: what to fit to and to test on.
        protocol: how it is divided.
        candidates: predictors to compare.
        seeds: of the repetitions.
        store: where finished runs are.
        progress: told what happens.

    Returns:
        The runs that succeeded, predictor by predictor.

    Raises:
        InputError: ``dataset`` cannot be divided so.
    """
    planned = list(enumerate(_plan(dataset, protocol, candidates, seeds), start=1))
    done: dict[int, Run] = {}
    left = planned
    for wait in (False, True):
        elsewhere = []
        for number, task in left:
            key = task.key

            def tell(state: State, _number: int = number, _key: RunKey = key, **more: Any) -> None:
                progress(
                    RunEvent(state=state, key=_key, number=_number, total=len(planned), **more)
                )

            with store.claim(key, wait=wait) as claimed:
                if not claimed:
                    elsewhere.append((number, task))
                elif store.has(key):
                    done[number] = store.read(key)
                    tell("known", run=done[number])
                elif (run := _attempt(task, store, tell)) is not None:
                    done[number] = run
                    tell("done", run=run)
        left = elsewhere
    return [done[number] for number in sorted(done)]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Task:
    """A run that is to be done."""

    dataset: Dataset[Any]
    split: Split
    candidate: Candidate
    key: RunKey

    def of_part(self, part: Candidate) -> _Task:
        """The run of a part of the candidate, as it is where the part is compared alone."""
        key = replace(self.key, predictor=part.name, label=part.label, settings=part.settings)
        return replace(self, candidate=part, key=key)


def _plan(
    dataset: Dataset[Any],
    protocol: SplitProtocol,
    candidates: Sequence[Candidate],
    seeds: Sequence[int],
) -> Iterator[_Task]:
    """Seed by seed, so that an evaluation that is cut short has compared all predictors."""
    splits = protocol.splits(dataset)
    for seed in seeds:
        for candidate in candidates:
            if seed != seeds[0] and not candidate.seeded:
                continue
            for split in splits:
                key = RunKey(
                    dataset=dataset.name,
                    data_digest=dataset.digest,
                    task=dataset.task,
                    protocol=describe(protocol),
                    split=split.name,
                    predictor=candidate.name,
                    label=candidate.label,
                    seed=seed,
                    settings=candidate.settings,
                )
                yield _Task(dataset=dataset, split=split, candidate=candidate, key=key)


def _attempt(task: _Task, store: RunStore, tell: Callable[..., None]) -> Run | None:
    """The run, which is in ``store`` then; None where it failed, which is told of."""
    tell("begun")
    try:
        return _do(task, store, tell)
    except CostModelError as error:
        tell("failed", error=error)
        return None


def _do(task: _Task, store: RunStore, tell: Callable[..., None]) -> Run:
    predictor = task.candidate.make(task.key.seed)
    if isinstance(predictor, Combination):
        tasks = [task.of_part(part) for part in task.candidate.parts]
        run = _combined(predictor, [_known_or_done(one, store, tell) for one in tasks], task.key)
    else:
        run = _fitted(task, predictor, tell)
    store.write(run)
    return run


def _known_or_done(task: _Task, store: RunStore, tell: Callable[..., None]) -> Run:
    with store.claim(task.key, wait=True):
        return store.read(task.key) if store.has(task.key) else _do(task, store, tell)


def _combined(predictor: Combination[Any], parts: Sequence[Run], key: RunKey) -> Run:
    """The run of a combination, by the runs of its parts on the same split with the same seed."""
    description = predictor.describe_with([run.info.description for run in parts])
    info = replace(
        parts[0].info,
        key=key,
        fit_s=sum(run.info.fit_s for run in parts),
        predict_s=sum(run.info.predict_s for run in parts),
        parameters=description.get("parameters"),
        description=description,
    )
    answers = predictor.combine([run.predictions.prediction for run in parts])
    return Run(info=info, predictions=replace(parts[0].predictions, prediction=answers))


def _fitted(task: _Task, predictor: Predictor[Any], tell: Callable[..., None]) -> Run:
    dataset, split = task.dataset, task.split
    train, watched = dataset.subset(split.train), None
    if len(split.validation):
        held_back = dataset.subset(split.validation)
        watched = (held_back.inputs, held_back.targets)
    begin = time.perf_counter()
    predictor.fit(
        train.inputs,
        train.targets,
        validation=watched,
        progress=lambda event: tell("fitting", fit=event),
    )
    fitted = time.perf_counter()
    parts = [(TEST, split.test), (VALIDATION, split.validation)]
    predictions = _ask(predictor, dataset, [part for part in parts if len(part[1])])
    end = time.perf_counter()
    description = predictor.describe()
    info = RunInfo(
        key=task.key,
        train_size=len(train),
        fit_s=fitted - begin,
        predict_s=end - fitted,
        parameters=description.get("parameters"),
        data_conditions=dataset.conditions,
        conditions=conditions(),
        description=description,
    )
    return Run(info=info, predictions=predictions)


def _ask(
    predictor: Predictor[Any], dataset: Dataset[Any], parts: Sequence[tuple[str, IntArray]]
) -> Predictions:
    indices = np.concatenate([part for _, part in parts])
    asked = dataset.subset(indices)
    answers = np.asarray(predictor.predict(asked.inputs), dtype=np.float64)
    if answers.shape != (len(asked),) or not np.isfinite(answers).all():
        raise PredictionError(
            f"{predictor.name} was asked for {len(asked)} predictions and answered "
            f"{int(np.isfinite(answers).sum())} finite numbers in the shape {answers.shape}"
        )
    return Predictions(
        part=np.repeat([name for name, _ in parts], [len(part) for _, part in parts]),
        network=np.array(asked.names),
        family=np.array(asked.families),
        platform=np.array(asked.platforms),
        target=asked.expected,
        prediction=answers,
        noise=np.full(len(asked), np.nan) if asked.noise is None else asked.noise,
    )
