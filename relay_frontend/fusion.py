"""Kernels guessed from an operator graph alone, for want of a compiler.

The rules are those of ``FuseOps``, by which TVM groups the operators of Relay and Relax modules
into kernels (Chen et al., TVM, OSDI 2018, section 3): each operator has a pattern, and may join its
immediate post-dominator if the patterns on all ways there allow it; convolutions first, then what
only moves elements, then what feeds a tuple.

What else a compiler does is not known here. It puts changes of layout between operators, it takes
some apart into several kernels (norms, attention, activations), and Relay folds the scales of
squeeze-and-excitation into weights. So on a small network of each family of the zoo, the share of
operators whose kernel has just the members that TVM gives it is

* Relay (0.16, x86): 100 % on the ten families of plain convolutions, pools and activations, 91 % on
  MobileNetV3, 61 % on EfficientNet, 16 to 36 % on ViT, BERT and ConvNeXt;
* Relax (0.27, default pipeline): 67 % on NAS-Bench-201, where the other one of two convolutions
  takes their sum, 76 to 94 % on MobileNetV3, EfficientNet, BERT and ViT, 100 % on the other ten.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from relay_frontend.fusion_patterns import (
    ANCHOR,
    BROADCAST,
    ELEMENTWISE,
    INJECTIVE,
    OPAQUE,
    PATTERN_OF,
    REDUCTION,
    TUPLE,
)
from relay_frontend.graph import Operator, OpGraph, TensorType, itemsize
from relay_frontend.kernel import NO_KERNEL, Kernel
from relay_frontend.native import NativeOpGraph

_MAX_FUSED = 256  # and kMaxFused of fusion.cc


def fuse(graph: OpGraph) -> np.ndarray:
    """The kernel of each operator, ``[num_nodes]`` int64.

    Kernels are numbered from 0 by their last operators, which is an order in which they can run.
    """
    if isinstance(graph, NativeOpGraph):
        kernels: np.ndarray = graph.native.fuse()
        return kernels
    flow = _Flow(graph)
    groups = _Groups(flow)
    for phase in range(3):
        groups.fuse(phase)
    last = [groups.find(stage) for stage in flow.stages]
    rank = {stage: kernel for kernel, stage in enumerate(sorted(set(last)))}
    return np.array([rank[stage] for stage in last], dtype=np.int64)


def kernels_of(graph: OpGraph, groups: np.ndarray | None = None) -> tuple[Kernel, ...]:
    """The kernels of ``graph`` as far as its operators tell of them, in the order of their numbers.

    Kinds are made of the names of the vocabulary (``conv2d_relu``), arguments of the data that a
    kernel reads and, for each operator that has parameters, one flat tensor of their bytes. Equal
    kernels share a name; kernels of reshapes alone have the name :data:`NO_KERNEL`.

    Args:
        graph: the network.
        groups: the kernel of each operator, numbered from 0; those of :func:`fuse` by default.
    """
    owners: list[int] = (fuse(graph) if groups is None else groups).tolist()
    members: list[list[int]] = [[] for _ in range(max(owners, default=-1) + 1)]
    for position, owner in enumerate(owners):
        members[owner].append(position)
    leaving = read_elsewhere(graph, owners)
    names = _Names()
    return tuple(_kernel(graph, positions, leaving, names) for positions in members)


def read_elsewhere(graph: OpGraph, kernels: Sequence[int]) -> set[int]:
    """The operators whose results leave their kernel: for another one, or as outputs.

    Args:
        graph: the network.
        kernels: the kernel of each operator.
    """
    leaving = {i for i in graph.outputs if i >= 0}
    leaving.update(a for a, b in graph.edges if kernels[a] != kernels[b])
    return leaving


class _Flow:
    """The data flow as TVM sees it: operators, tuples, and the parts that are taken out of them.

    A split is one stage, of which each part is taken by a stage of its own; a concatenation has a
    stage before it that makes the tuple of its operands. Stages are in topological order.
    """

    def __init__(self, graph: OpGraph) -> None:
        self.patterns: list[int] = []
        self.users: list[list[int]] = []
        self.edges: list[list[int]] = []  # patterns of the edges to the users
        self.stages: list[int] = []  # of each operator: where it is computed
        self._values: list[int] = []  # of each operator: where its result comes from
        self._splits: dict[tuple[object, ...], int] = {}
        for operator in graph:
            stage, value = self._add_operator(operator, graph)
            self.stages.append(stage)
            self._values.append(value)
        self.exported = {self._values[i] for i in graph.outputs if i >= 0}

    def _add_operator(self, operator: Operator, graph: OpGraph) -> tuple[int, int]:
        """The stages where ``operator`` is computed and where its result comes from."""
        op, inputs = operator.op, [i for i in operator.inputs if i >= 0]
        producers = [self._values[i] for i in inputs]
        if op == "split":
            key = (operator.inputs, operator.attrs["axis"])
            if key not in self._splits:
                self._splits[key] = self._add(INJECTIVE, producers)
            return self._splits[key], self._add(INJECTIVE, [self._splits[key]])
        if op == "item" and inputs:
            return self.stages[inputs[0]], self._add(INJECTIVE, producers)
        if op == "concatenate":
            producers = [self._add(TUPLE, producers, [INJECTIVE] * len(producers))]
        pattern = PATTERN_OF[op]
        edges = None
        if pattern == BROADCAST:
            same = [graph.operators[i].shape == operator.shape for i in inputs]
            edges = [ELEMENTWISE if s else BROADCAST for s in same]
        stage = self._add(pattern, producers, edges)
        return stage, stage

    def _add(self, pattern: int, producers: list[int], edges: list[int] | None = None) -> int:
        stage = len(self.patterns)
        self.patterns.append(pattern)
        self.users.append([])
        self.edges.append([])
        for producer, edge in zip(producers, edges or [pattern] * len(producers), strict=True):
            self.users[producer].append(stage)
            self.edges[producer].append(edge)
        return stage


def _post_dominators(flow: _Flow) -> tuple[list[int], list[int]]:
    """The immediate post-dominator of each stage, -1 without one, and the pattern on the ways."""
    count = len(flow.patterns)
    parents, paths, depths = [-1] * count, [OPAQUE] * count, [1] * count
    for stage in reversed(range(count)):
        users = flow.users[stage]
        if stage in flow.exported or not users:
            continue
        parent, path = users[0], max(flow.edges[stage])
        for user in users[1:]:
            other = user
            while parent != other and parent >= 0 and other >= 0:
                # The deeper one goes up, both where they are as deep.
                up, other_up = depths[parent] >= depths[other], depths[other] >= depths[parent]
                if up:
                    path, parent = max(path, paths[parent]), parents[parent]
                if other_up:
                    path, other = max(path, paths[other]), parents[other]
            if parent != other:
                parent = -1
                break
        parents[stage], paths[stage] = parent, path
        depths[stage] = depths[parent] + 1 if parent >= 0 else 1
    return parents, paths


class _Groups:
    """Groups of stages, each known by its last stage; a union-find structure."""

    def __init__(self, flow: _Flow) -> None:
        self._flow = flow
        self._parents, self._paths = _post_dominators(flow)
        self._leaders = list(range(len(flow.patterns)))
        self._sizes = [1] * len(flow.patterns)
        self._patterns = list(flow.patterns)  # of the group where a stage leads one

    def find(self, stage: int) -> int:
        """The leader of the group of a stage."""
        leaders = self._leaders
        while leaders[stage] != stage:
            leaders[stage] = stage = leaders[leaders[stage]]
        return stage

    def fuse(self, phase: int) -> None:
        """Let each stage join its post-dominator, with all that lies between, where it may."""
        for stage, sink in enumerate(self._parents):
            if sink < 0:
                continue
            limits = self._limits(phase, stage, sink)
            if limits is None:
                continue
            between = self._between(stage, sink, *limits)
            if between is not None:
                for member in (stage, *between):
                    self._merge(self.find(member), self.find(sink))

    def _limits(self, phase: int, stage: int, sink: int) -> tuple[int, int] | None:
        """The highest patterns between the stages and of the sink with which they may fuse."""
        pattern, path = self._patterns[stage], self._paths[stage]
        into_tuple = self._flow.patterns[sink] == TUPLE
        if phase == 2:  # into tuples that are part of something injective by now
            may = into_tuple and pattern <= INJECTIVE
            return (INJECTIVE, INJECTIVE) if may else None
        if into_tuple or self.find(stage) == self.find(sink):
            return None
        if pattern <= BROADCAST and path <= REDUCTION:
            return INJECTIVE, ANCHOR
        if pattern == ANCHOR and path == ELEMENTWISE and phase == 0:
            return BROADCAST, BROADCAST
        if pattern in (INJECTIVE, TUPLE) and phase == 1:
            return INJECTIVE, INJECTIVE
        return None

    def _between(self, stage: int, sink: int, inner: int, last: int) -> set[int] | None:
        """The stages on all ways to the sink; None where a pattern or their number forbids it."""
        leader = self.find(sink)
        if self._patterns[leader] > last:
            return None
        size = self._sizes[leader] + self._sizes[stage]
        found: set[int] = set()
        stack = [user for user in self._flow.users[stage] if user != sink]
        while stack and size <= _MAX_FUSED:
            member = stack.pop()
            if member in found:
                continue
            if self._patterns[self.find(member)] > inner:
                return None
            found.add(member)
            size += self._sizes[member]
            stack.extend(user for user in self._flow.users[member] if user != sink)
        return found if size <= _MAX_FUSED else None

    def _merge(self, child: int, leader: int) -> None:
        if child == leader:
            return
        self._leaders[child] = leader
        self._sizes[leader] += self._sizes[child]
        if self._patterns[child] == ANCHOR:
            self._patterns[leader] = ANCHOR


# --- Kernels ----------------------------------------------------------------------------------


class _Names:
    """A name for each kernel: that of its kind, with a number where others have it."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[object, int]] = {}

    def name(self, kind: str, content: object) -> str:
        numbers = self._numbers.setdefault(kind, {})
        number = numbers.setdefault(content, len(numbers))
        return f"{kind}_{number}" if number else kind


def _kernel(graph: OpGraph, positions: list[int], leaving: set[int], names: _Names) -> Kernel:
    operators = [graph.operators[position] for position in positions]
    own = set(positions)
    arguments: dict[object, TensorType] = {}
    for position, operator in zip(positions, operators, strict=True):
        for i in operator.inputs:
            if i not in own:
                arguments[i] = graph.operators[i].type if i >= 0 else graph.inputs[-1 - i]
        if operator.param_bytes:
            arguments["parameters", position] = _flat(operator.param_bytes, operator.dtype)
    kind = "_".join(operator.op for operator in operators)
    read = tuple(arguments.values())
    written = tuple(graph.operators[p].type for p in positions if p in leaving)
    content = (read, written, *(tuple(sorted(o.attrs.items())) for o in operators))
    moves_nothing = all(operator.op == "reshape" for operator in operators)
    return Kernel(
        name=NO_KERNEL if moves_nothing else names.name(kind, content),
        kind=kind,
        arguments=read,
        results=written,
        flops=sum(operator.flops for operator in operators),
        operators=tuple(positions),
    )


def _flat(num_bytes: int, dtype: str) -> TensorType:
    size = itemsize(dtype)
    return TensorType((num_bytes // size,), dtype) if num_bytes % size == 0 else _bytes(num_bytes)


def _bytes(count: int) -> TensorType:
    return TensorType((count,), "uint8")
