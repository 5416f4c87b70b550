"""What runs leave behind: one Parquet file of predictions and one row about the run, each.

``predictions/<run>.parquet`` has a row for each tested network (``part`` is ``test``) and each that
was watched while fitting (``validation``); ``runs/<run>.parquet`` one row with times and
conditions, written last, so that a run which has it is complete. Both folders read as one table
each in any program that reads Parquet.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from relay_frontend.errors import InputError

FloatArray = npt.NDArray[np.float64]

TEST, VALIDATION = "test", "validation"

_RUNS, _PREDICTIONS = "runs", "predictions"
_JSON_FIELDS = ("data_conditions", "conditions", "description")


@dataclass(frozen=True, kw_only=True)
class RunKey:
    """What makes a run what it is; equal keys are the same run.

    Args:
        dataset: name of the data set.
        data_digest: of its content.
        task: ``latency`` or ``accuracy``.
        protocol: with all options that the split depends on.
        split: of the protocol.
        predictor: its name.
        label: its name with its options.
        seed: of the run.
        settings: digest of what the name and the options stand for, so that a preset or a default
            that has changed since makes another run.
    """

    dataset: str
    data_digest: str
    task: str
    protocol: str
    split: str
    predictor: str
    label: str
    seed: int
    settings: str = ""

    @property
    def id(self) -> str:
        """Name of the run's files."""
        content = {name: value for name, value in asdict(self).items() if name != "dataset"}
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """A finished run.

    Args:
        key: what it is.
        train_size: networks that it was fitted to.
        fit_s: seconds that fitting took.
        predict_s: seconds that all predictions took.
        parameters: size of the predictor in weights, where it has any.
        data_conditions: of the data set.
        conditions: of the process.
        description: of the fitted predictor.
    """

    key: RunKey
    train_size: int
    fit_s: float
    predict_s: float
    parameters: int | None
    data_conditions: Mapping[str, Any]
    conditions: Mapping[str, Any]
    description: Mapping[str, Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """Predictions of one run, all ``[num_rows]``.

    Args:
        part: ``test`` or ``validation``.
        network: names.
        family: of the networks.
        platform: whose latency it is.
        target: what was measured: latencies in ms, accuracies from 0 to 1.
        prediction: of the run.
        noise: relative error of a label; NaN where unknown.
    """

    part: npt.NDArray[np.str_]
    network: npt.NDArray[np.str_]
    family: npt.NDArray[np.str_]
    platform: npt.NDArray[np.str_]
    target: FloatArray
    prediction: FloatArray
    noise: FloatArray


_COLUMNS = tuple(Predictions.__dataclass_fields__)


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """A finished run and its predictions."""

    info: RunInfo
    predictions: Predictions

    @property
    def key(self) -> RunKey:
        """What it is."""
        return self.info.key


class RunStore:
    """The runs in a directory. Safe to share between processes, which claim what they do.

    Args:
        directory: made when the first run is claimed or written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def has(self, key: RunKey) -> bool:
        """Whether the run is there."""
        return self._path(_RUNS, key.id).is_file()

    @contextmanager
    def claim(self, key: RunKey, *, wait: bool = False) -> Iterator[bool]:
        """Keep other processes from doing the run meanwhile.

        The system gives a claim back when the process ends, however it ends.

        Args:
            key: the run.
            wait: for the claim of another process to end.

        Yields:
            Whether no other process has claimed it; a run that is there cannot be claimed from one.
        """
        if self.has(key):
            yield True
            return
        path = self._path(_RUNS, f".{key.id}").with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True
            # While the run is missing, others may wait for this very file: they would hold what
            # nobody who comes later sees.
            if self.has(key):
                path.unlink(missing_ok=True)

    def write(self, run: Run) -> None:
        """Add a run, or put it in the place of the same one."""
        import pyarrow as pa  # noqa: PLC0415 (optional)

        key = asdict(run.key)
        columns = {name: getattr(run.predictions, name) for name in _COLUMNS}
        constant = {name: [value] * len(columns["target"]) for name, value in key.items()}
        self._write(_PREDICTIONS, run.key.id, pa.table({**constant, **columns}))
        info = asdict(run.info)
        del info["key"]
        info |= {name: json.dumps(info[name], sort_keys=True) for name in _JSON_FIELDS}
        row = {name: [value] for name, value in {**key, **info}.items()}
        # Without a type a column of nothing but nulls could not be read beside the others.
        table = pa.table({**row, "parameters": pa.array(row["parameters"], pa.int64())})
        self._write(_RUNS, run.key.id, table)

    def read(self, key: RunKey) -> Run:
        """The run with this key.

        Raises:
            InputError: it is not there, or damaged.
        """
        return self._read(key.id)

    def read_all(self) -> list[Run]:
        """All runs of the directory, in the order of the columns of :class:`RunKey`.

        Raises:
            InputError: one is damaged.
        """
        names = sorted(path.stem for path in (self.directory / _RUNS).glob("[!.]*.parquet"))
        runs = [self._read(name) for name in names]
        return sorted(runs, key=lambda run: tuple(asdict(run.key).values()))

    def _read(self, name: str) -> Run:
        try:
            row = self._table(_RUNS, name).to_pylist()[0]
            columns = self._table(_PREDICTIONS, name).to_pydict()
            values = {field: row[field] for field in RunInfo.__dataclass_fields__ if field in row}
            values |= {field: json.loads(row[field]) for field in _JSON_FIELDS}
            key = RunKey(
                **{field: row[field] for field in RunKey.__dataclass_fields__ if field in row}
            )
            return Run(
                info=RunInfo(key=key, **values),
                predictions=Predictions(**{field: np.array(columns[field]) for field in _COLUMNS}),
            )
        except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
            raise InputError(
                f"run {name} in {self.directory} cannot be read ({error}): remove "
                f"{self._path(_RUNS, name)} to have it done again"
            ) from error

    def _table(self, kind: str, name: str) -> Any:
        from pyarrow import parquet  # noqa: PLC0415 (optional)

        return parquet.ParquetFile(self._path(kind, name)).read()

    def _write(self, kind: str, name: str, table: Any) -> None:
        from pyarrow import parquet  # noqa: PLC0415 (optional)

        path = self._path(kind, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            parquet.write_table(table, scratch, compression="zstd")
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)

    def _path(self, kind: str, name: str) -> Path:
        return self.directory / kind / f"{name}.parquet"


def select(
    runs: Iterable[Run],
    *,
    data_digest: str | None = None,
    protocol: str | None = None,
    labels: Iterable[str] | None = None,
) -> list[Run]:
    """The runs on one data set by one protocol of some predictors; None means all."""
    wanted = None if labels is None else set(labels)
    return [
        run
        for run in runs
        if data_digest in {None, run.key.data_digest}
        and protocol in {None, run.key.protocol}
        and (wanted is None or run.key.label in wanted)
    ]
