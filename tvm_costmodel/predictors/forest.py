"""Random forests as plain arrays: grown by scikit-learn, stored and asked without it.

A pickled forest cannot be read by another version of scikit-learn; arrays can be read for ever, and
asking them needs numpy alone.

Shape suffixes: T trees, V nodes of all trees, M rows, F features.
"""

# ruff: noqa: N803, N806 (shape suffixes)
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from relay_frontend.errors import InputError, MissingDependencyError
from tvm_costmodel.predictors.base import FloatArray

IntArray = npt.NDArray[np.int32]

_CHUNK = 1 << 20  # positions in trees that are followed at a time
_NAMES = ("roots", "left", "right", "feature", "threshold")


@dataclass(frozen=True, kw_only=True)
class ForestConfig:
    """How a forest is grown; the rest is scikit-learn's default.

    Args:
        num_trees: of them.
        max_depth: of a tree.
        max_features: share of the features that a split may choose from.
    """

    num_trees: int
    max_depth: int
    max_features: float


@dataclass(frozen=True, eq=False, slots=True)
class Forest:
    """Regression trees whose mean is the prediction. Immutable.

    Args:
        roots: ``[T]``, the node that each tree starts at.
        left: ``[V]``, the node to go to where the feature is at most the threshold; a leaf goes to
            itself.
        right: ``[V]``, the node to go to where it is above.
        feature: ``[V]``, the feature that is looked at; 0 at a leaf.
        threshold: ``[V]``, at a leaf the value of the tree.
    """

    roots: IntArray
    left: IntArray
    right: IntArray
    feature: npt.NDArray[np.int16]
    threshold: npt.NDArray[np.float32]

    @classmethod
    def grow(cls, x_MF: FloatArray, y_M: FloatArray, config: ForestConfig, seed: int) -> Forest:
        """A forest for targets ``y_M`` of rows ``x_MF``.

        Raises:
            MissingDependencyError: scikit-learn is not installed.
        """
        try:
            from sklearn.ensemble import RandomForestRegressor  # noqa: PLC0415 (optional, slow)
        except ImportError:
            raise MissingDependencyError(
                "random forests are grown by scikit-learn: pip install 'tvm-costmodel[train]'"
            ) from None
        grown = RandomForestRegressor(
            n_estimators=config.num_trees,
            max_depth=config.max_depth,
            max_features=config.max_features,
            random_state=seed,
        ).fit(x_MF, y_M)
        trees = [estimator.tree_ for estimator in grown.estimators_]
        sizes = np.array([tree.node_count for tree in trees])
        roots = np.cumsum(sizes) - sizes
        return cls(
            roots=roots.astype(np.int32),
            left=_children(trees, roots, "children_left"),
            right=_children(trees, roots, "children_right"),
            feature=np.concatenate([np.maximum(t.feature, 0) for t in trees]).astype(np.int16),
            threshold=np.concatenate([_thresholds(tree) for tree in trees]),
        )

    def predict(self, x_MF: FloatArray) -> FloatArray:
        """The mean of the trees for each row, ``[M]``."""
        rows = max(1, _CHUNK // len(self.roots))
        single_MF = x_MF.astype(np.float32)  # as scikit-learn compares them
        parts = [self._predict(single_MF[at : at + rows]) for at in range(0, len(x_MF), rows)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _predict(self, x_MF: npt.NDArray[np.float32]) -> FloatArray:
        row_M = np.arange(len(x_MF))
        node_TM = np.repeat(self.roots[:, None], len(x_MF), axis=1)
        while True:
            goes_left_TM = x_MF[row_M, self.feature[node_TM]] <= self.threshold[node_TM]
            next_TM = np.where(goes_left_TM, self.left[node_TM], self.right[node_TM])
            if np.array_equal(next_TM, node_TM):
                mean_M: FloatArray = self.threshold[node_TM].astype(np.float64).mean(axis=0)
                return mean_M
            node_TM = next_TM

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What :meth:`from_arrays` makes an equal forest from."""
        return {name: getattr(self, name) for name in _NAMES}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Forest:
        """The inverse of :meth:`arrays`.

        Raises:
            InputError: an array is missing, or a tree points out of the arrays.
        """
        if missing := set(_NAMES) - arrays.keys():
            raise InputError(f"a forest lacks the arrays {sorted(missing)}")
        forest = cls(*(arrays[name] for name in _NAMES))
        size = len(forest.left)
        links = (forest.roots, forest.left, forest.right)
        if any(a.size and not 0 <= a.min() <= a.max() < size for a in links) or not (
            len(forest.right) == len(forest.feature) == len(forest.threshold) == size
        ):
            raise InputError("a forest has branches that lead nowhere")
        return forest

    def _slice(self, roots: IntArray, start: np.int32, end: np.int32) -> Forest:
        """The trees of ``roots``, whose nodes are those from ``start`` to ``end``."""
        own = {name: array[start:end] for name, array in self.arrays().items()}
        links = {name: own[name] - start for name in ("left", "right")}
        return Forest.from_arrays({**own, **links, "roots": roots - start})


def join(forests: Mapping[str, Forest]) -> tuple[dict[str, npt.NDArray[Any]], dict[str, int]]:
    """The arrays of all forests in one set of arrays, and how many trees each of them has."""
    sizes = np.array([len(forest.left) for forest in forests.values()])
    offsets = (np.cumsum(sizes) - sizes).astype(np.int32)
    parts = [
        {
            name: array + offset if name in {"roots", "left", "right"} else array
            for name, array in forest.arrays().items()
        }
        for forest, offset in zip(forests.values(), offsets, strict=True)
    ]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in _NAMES}
    return arrays, {kind: len(forest.roots) for kind, forest in forests.items()}


def part(arrays: Mapping[str, npt.NDArray[Any]], num_trees: Mapping[str, int]) -> dict[str, Forest]:
    """The inverse of :func:`join`.

    Raises:
        InputError: the arrays are no forests, or have another number of trees.
    """
    whole = Forest.from_arrays(arrays)
    counts = list(num_trees.values())
    if min(counts, default=0) < 1 or sum(counts) != len(whole.roots):
        raise InputError(
            f"expected {len(whole.roots)} trees, at least one of each kind, got {dict(num_trees)}"
        )
    roots = np.split(whole.roots, np.cumsum(counts)[:-1])
    starts = [own[0] for own in roots]  # a forest's nodes begin with its first root
    ends = [*starts[1:], len(whole.left)]
    return {
        kind: whole._slice(own, start, end)
        for kind, own, start, end in zip(num_trees, roots, starts, ends, strict=True)
    }


def _children(trees: list[Any], roots: npt.NDArray[Any], name: str) -> IntArray:
    """Positions in the joined arrays; a leaf, -1 in scikit-learn, becomes its own child."""
    parts = []
    for tree, root in zip(trees, roots, strict=True):
        child = getattr(tree, name)
        parts.append(np.where(child < 0, np.arange(len(child)), child) + root)
    joined: IntArray = np.concatenate(parts).astype(np.int32)
    return joined


def _thresholds(tree: Any) -> npt.NDArray[np.float32]:
    """Thresholds, and the values of leaves, in single precision.

    A threshold is rounded down: features are single precision too, so that none of them changes
    sides.
    """
    exact = tree.threshold
    rounded = exact.astype(np.float32)
    down = np.where(rounded > exact, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    leaf = tree.children_left < 0
    thresholds: npt.NDArray[np.float32] = np.where(leaf, tree.value[:, 0, 0], down)
    return thresholds.astype(np.float32)
