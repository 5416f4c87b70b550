"""How like a network is to those that a checkpoint was trained on, told by operator graphs alone.

A *profile* says of what kinds of work a network is made, and of how much. Profiles are compared
value by value, each in units of its standard deviation over the known networks; their distance is
the root of the mean of the squares. It counts in units of the *usual distance*: of the known
networks, 95 % have another one within it.

On data set v1, with boosted trees on profiles as the predictor, the median error on networks that
were kept from training was 12 % below half the usual distance, 17 % from there to 1, 26 % to 1.5,
and 35 % beyond; where one of fifteen families was left out, its median distance was 0.5 (MnasNet,
which is like MobileNet) to 1.9 (ShuffleNet v2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from relay_frontend.errors import InputError
from relay_frontend.graph import Operator, OpGraph
from relay_frontend.operators import OPERATORS
from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.predictors import storage

FloatArray = npt.NDArray[np.float32]

DIRECTORY = "known-networks"
"""Where the known networks lie within the directory of a checkpoint."""

FORMAT_VERSION = 1
"""Raised by one with every change of the files, or of what a profile holds."""

_PROFILES_FILE = "profiles.safetensors"
_DESCRIPTION_FILE = "known-networks.json"

_USUAL = 0.95  # quantile of the distances from each known network to the nearest other one
_LEAST_USUAL = 0.01  # where all known networks have a twin; rounding to float16 makes as much
_LEAST_DEVIATION = 0.05  # so that a kind of work that no known network has counts, within bounds

# --- Profiles -----------------------------------------------------------------------------------

_CONVOLUTION, _POINTWISE, _GROUPED, _DEPTHWISE = (
    "convolution", "pointwise convolution", "grouped convolution", "depthwise convolution",
)  # fmt: skip
_NORMALIZATION = "normalization"
_KIND_OF_COST = {
    "convolution": _CONVOLUTION,
    "transposed_convolution": "transposed convolution",
    "einsum": "matmul",
    "attention": "attention",
    "recurrent": "recurrent",
    "window": "pooling",
    "lrn": _NORMALIZATION,
    "inputs": "reduction",
}
KINDS = (
    *(_CONVOLUTION, _POINTWISE, _GROUPED, _DEPTHWISE, "transposed convolution"),
    *("dense", "matmul", "attention", "recurrent", "pooling", _NORMALIZATION),
    *("reduction", "elementwise", "broadcast", "injective", "opaque"),
)
"""Kinds of work that a profile tells apart."""

PROFILE_SIZE = 2 * len(KINDS) + 11
"""Values of a profile."""


def _kind_of_operator(op: str) -> str:
    """The kind of an operator of the vocabulary, convolutions being all alike."""
    spec = OPERATORS[op]
    cost = spec.cost.partition("*")[0]
    if cost == "product":
        return op
    if cost == "elements" and spec.category == "opaque":
        return _NORMALIZATION
    return _KIND_OF_COST.get(cost, spec.category)


_KIND_INDEX = {kind: index for index, kind in enumerate(KINDS)}
_INDEX_OF_OPERATOR = {op: _KIND_INDEX[_kind_of_operator(op)] for op in OPERATORS}


def profile(graph: OpGraph) -> FloatArray:
    """What ``graph`` is made of, ``[PROFILE_SIZE]`` float32.

    The share of each of :data:`KINDS` in its FLOPs, and in the bytes that its operators move;
    log2(1 + x) of its batch size, elements of its inputs, operators, FLOPs, bytes of parameters
    and bytes moved; means over its operators: log2(1 + x) of the FLOPs of one, of its output's and
    of its parameters' bytes, all weighted by FLOPs, and of its output's bytes weighted by bytes
    moved; edges per operator.
    """
    rows = np.array(
        [(_kind(o), o.flops, o.param_bytes, o.read_bytes, o.write_bytes) for o in graph],
        dtype=np.float64,
    ).reshape(-1, 5)
    kinds = rows[:, 0].astype(np.int64)
    flops, params, moved = rows[:, 1], rows[:, 2], rows[:, 2:].sum(axis=1)
    log_flops, log_params, _, log_written = np.log2(1 + rows[:, 1:]).T
    inputs = sum(t.num_elements for t in graph.inputs)
    totals = [graph.batch_size, inputs, len(rows), flops.sum(), params.sum(), moved.sum()]
    means = [
        _mean(log_flops, flops),
        _mean(log_written, flops),
        _mean(log_params, flops),
        _mean(log_written, moved),
        len(graph.edges) / max(len(rows), 1),
    ]
    parts = (_shares(kinds, flops), _shares(kinds, moved), np.log2(1 + np.array(totals)), means)
    return np.concatenate(parts).astype(np.float32)


def _kind(operator: Operator) -> int:
    index = _INDEX_OF_OPERATOR[operator.op]
    if index != _KIND_INDEX[_CONVOLUTION]:
        return index
    groups, window = operator.attrs["groups"], operator.attrs["kernel_size"]
    if groups != 1:
        channels = operator.shape[-1 if operator.op.endswith("nhwc") else 1]
        return _KIND_INDEX[_DEPTHWISE if groups == channels else _GROUPED]
    assert isinstance(window, tuple)
    return _KIND_INDEX[_POINTWISE if math.prod(window) == 1 else _CONVOLUTION]


def _shares(kinds: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]) -> Any:
    sums = np.bincount(kinds, weights=weights, minlength=len(KINDS))
    return sums / max(sums.sum(), 1.0)


def _mean(values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> float:
    return float(weights @ values) / max(float(weights.sum()), 1.0)


# --- Known networks -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A known network that is near to another one.

    Args:
        name: of the known network.
        family: its family.
        distance: 1 is the usual distance; 0 is a network of the same profile.
    """

    name: str
    family: str
    distance: float


@dataclass(frozen=True, eq=False, kw_only=True)
class KnownNetworks:
    """The networks that a checkpoint was trained on, as far as likeness needs them.

    Args:
        names: of the networks.
        families: of each of them.
        profiles: of each of them, ``[num_networks, PROFILE_SIZE]`` float16.
        usual_distance: within which 95 % of them have another one, in standard deviations.
    """

    names: tuple[str, ...]
    families: tuple[str, ...]
    profiles: npt.NDArray[np.float16]
    usual_distance: float

    @classmethod
    def of(
        cls, graphs: Sequence[OpGraph], names: Sequence[str], families: Sequence[str]
    ) -> KnownNetworks:
        """The known networks with these graphs, names and families, all ``[num_networks]``.

        Raises:
            InputError: there are fewer than two, which leaves no distance to call usual.
        """
        if len(graphs) < 2:
            raise InputError(f"known networks must be at least two, got {len(graphs)}")
        profiles = np.array([profile(graph) for graph in graphs]).astype(np.float16)
        spread = _standardized(profiles, profiles)
        nearest = np.empty(len(spread))
        for index, row in enumerate(spread):
            distances = _distances(spread, row)
            distances[index] = np.inf
            nearest[index] = distances.min()
        return cls(
            names=tuple(names),
            families=tuple(families),
            profiles=profiles,
            usual_distance=max(float(np.quantile(nearest, _USUAL)), _LEAST_USUAL),
        )

    def __len__(self) -> int:
        return len(self.names)

    def distances(self, profile: FloatArray) -> npt.NDArray[np.float64]:
        """From a network with this profile to each known one, ``[num_networks]``; 1 is usual."""
        # Rounded as the known ones are, so that a known network is at distance 0 of itself.
        row = _standardized(profile.astype(np.float16)[None], self.profiles)[0]
        distances: npt.NDArray[np.float64] = _distances(self._spread, row) / self.usual_distance
        return distances

    def nearest(self, profile: FloatArray, count: int = 10) -> tuple[Neighbour, ...]:
        """The ``count`` known networks that are nearest to ``profile``, the nearest first."""
        distances = self.distances(profile)
        return tuple(
            Neighbour(name=self.names[i], family=self.families[i], distance=float(distances[i]))
            for i in np.argsort(distances, kind="stable")[:count]
        )

    def save(self, directory: Path) -> None:
        """Write them as a new ``directory``: all of it or nothing.

        Raises:
            CheckpointError: it exists.
        """
        families, index = np.unique(self.families, return_inverse=True)
        arrays = {"profiles": self.profiles, "family": index.astype(np.uint16)}
        content = storage.encode_arrays(arrays)
        values = {
            "usual_distance": self.usual_distance,
            "families": families.tolist(),
            "names": list(self.names),
            "profiles_sha256": storage.sha256(content),
        }
        description = storage.encode_description(FORMAT_VERSION, values)
        files = {_PROFILES_FILE: content, _DESCRIPTION_FILE: description}
        storage.write_directory(directory, files)

    @classmethod
    def load(cls, directory: Path) -> KnownNetworks:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: it is missing, damaged or of a newer format.
        """
        values = storage.read_description(directory, _DESCRIPTION_FILE, FORMAT_VERSION)
        arrays = storage.read_arrays(directory, _PROFILES_FILE, values.get("profiles_sha256"))
        try:
            known = cls(
                names=tuple(values["names"]),
                families=tuple(values["families"][i] for i in arrays["family"]),
                profiles=arrays["profiles"],
                usual_distance=float(values["usual_distance"]),
            )
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise CheckpointError(f"known networks {directory}: {error!r}") from error
        lengths = {len(known.names), len(known.families), len(known.profiles)}
        if len(lengths) > 1 or known.profiles.shape[1:] != (PROFILE_SIZE,):
            raise CheckpointError(
                f"known networks {directory}: {len(known.names)} names, {len(known.families)} "
                f"families, profiles {known.profiles.shape}, expected {PROFILE_SIZE} values of each"
            )
        return known

    @cached_property
    def _spread(self) -> npt.NDArray[np.float64]:
        return _standardized(self.profiles, self.profiles)


def _standardized(
    profiles: npt.NDArray[np.float16], known: npt.NDArray[np.float16]
) -> npt.NDArray[np.float64]:
    """``profiles`` in standard deviations of the ``known`` ones, ``[num_profiles, size]``."""
    exact = known.astype(np.float64)
    deviation = np.maximum(exact.std(axis=0), _LEAST_DEVIATION)
    standardized: npt.NDArray[np.float64] = (profiles - exact.mean(axis=0)) / deviation
    return standardized


def _distances(
    spread: npt.NDArray[np.float64], row: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    distances: npt.NDArray[np.float64] = np.sqrt(np.square(spread - row).mean(axis=1))
    return distances
