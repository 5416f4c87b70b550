"""Latencies of networks that come one after the other, thousands of them, with bounded memory.

Threads read and predict batches beside each other: the native reader, tokenizer and predictor let
go of Python's lock. Answers come in the order of the networks.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from relay_frontend.errors import CostModelError
from relay_frontend.graph import OpGraph

FloatArray = npt.NDArray[np.float32]
Predict = Callable[[Sequence[OpGraph]], FloatArray]
Answer = tuple[OpGraph, float] | CostModelError
T = TypeVar("T")

BATCH = 64
"""Networks that are read and predicted together."""

_REMEMBERED = 1 << 15


def stream(
    networks: Iterable[Any],
    read: Callable[[Any], OpGraph],
    predict: Predict,
    *,
    read_here: Callable[[Any], bool],
    workers: int | None = None,
    batch: int = BATCH,
) -> Iterator[Answer]:
    """Graph and latency in ms of each network, or what is wrong with it, in order.

    At most ``(workers + 1) * batch`` networks are read ahead. What ``networks`` raises ends the
    stream, and so does any other error than those of this package.

    Args:
        networks: iterated by the caller's thread.
        read: makes a graph; called by several threads.
        predict: latencies of graphs; called by several threads.
        read_here: tells the networks that the caller's thread has to read.
        workers: threads; by default as many as cores that this process may use.
        batch: networks that are predicted together.
    """
    workers = workers or len(os.sched_getaffinity(0))

    def read_all(chunk: Sequence[Any]) -> list[OpGraph | CostModelError]:
        return [_read(network, read) for network in chunk]

    def answer(chunk: Sequence[Any]) -> list[Answer]:
        found = read_all(chunk)
        graphs = [item for item in found if isinstance(item, OpGraph)]
        latencies = iter(predict(graphs).tolist())
        return [(i, next(latencies)) if isinstance(i, OpGraph) else i for i in found]

    pool = ThreadPoolExecutor(workers, thread_name_prefix="estimate")
    pending: deque[Future[list[Answer]]] = deque()
    try:
        for chunk in _chunks(networks, batch):
            prepared = [_read(n, read) if read_here(n) else n for n in chunk]
            pending.append(pool.submit(answer, prepared))
            if len(pending) > workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read(network: Any, read: Callable[[Any], OpGraph]) -> OpGraph | CostModelError:
    if isinstance(network, (OpGraph, CostModelError)):
        return network
    try:
        return read(network)
    except CostModelError as error:
        return error


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


class Remembering:
    """Predicts each network once, as long as it is remembered.

    Threads may share it. Networks are equal where their digests and their costs are: the digest
    does not know how large the constants are that an operator reads.

    Args:
        predict: what is asked for networks that are not remembered.
        limit: networks that are remembered; the oldest are forgotten first.
    """

    def __init__(self, predict: Predict, limit: int = _REMEMBERED) -> None:
        self._predict = predict
        self._limit = limit
        self._known: dict[tuple[str, int, int, int], float] = {}
        self._lock = Lock()

    def __call__(self, graphs: Sequence[OpGraph]) -> FloatArray:
        """Latencies in ms, ``[num_graphs]``."""
        keys = [(g.digest, g.flops, g.param_bytes, g.memory_bytes) for g in graphs]
        known = {key: self._known.get(key) for key in keys}
        new = {key: graph for key, graph in zip(keys, graphs, strict=True) if known[key] is None}
        if new:
            known.update(zip(new, self._predict(list(new.values())).tolist(), strict=True))
            self._remember({key: known[key] for key in new})
        return np.array([known[key] for key in keys], dtype=np.float32)

    def _remember(self, latencies: dict[Any, float | None]) -> None:
        with self._lock:
            for key, latency in latencies.items():
                if latency is not None:
                    self._known[key] = latency
            for key in list(islice(self._known, max(0, len(self._known) - self._limit))):
                del self._known[key]
