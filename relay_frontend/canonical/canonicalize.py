"""Canonicalization: from a reader's nodes to the one :class:`OpGraph` of a network.

Two sweeps over the nodes in topological order. The first, :mod:`simplify
<relay_frontend.canonical.simplify>`, brings each operator into its canonical form by itself; the
second, :mod:`absorb <relay_frontend.canonical.absorb>`, lets operators absorb what belongs to them.
Last come the :mod:`parts <relay_frontend.canonical.parts>` of tensors.
"""

from __future__ import annotations

from collections.abc import Sequence

from relay_frontend import costs, vocabulary
from relay_frontend.canonical.absorb import LINEAR, absorb
from relay_frontend.canonical.parts import concatenate_from_stacks, split_from_slices
from relay_frontend.canonical.provenance import Trace
from relay_frontend.canonical.simplify import simplify
from relay_frontend.graph import Operator, OpGraph
from relay_frontend.nodes import CONSTANT, INPUT, Network, Node, topological
from relay_frontend.vocabulary import OPERATORS


def canonicalize(network: Network, trace: Trace | None = None) -> OpGraph:
    """The canonical operator graph of what a reader has read.

    Args:
        network: its nodes stay as they are, but for their origins.
        trace: is told of all rewrites, and afterwards has the origins of each operator.
    """
    if trace is not None:
        trace.begin(network.outputs)
    outputs = simplify(network.outputs, trace)
    outputs = absorb(outputs, trace)
    split_from_slices(outputs)
    concatenate_from_stacks(outputs)
    return _freeze(network.inputs, outputs, trace)


def _freeze(inputs: Sequence[Node], outputs: Sequence[Node], trace: Trace | None) -> OpGraph:
    """Number the operators in canonical order and attach their costs."""
    index = {id(node): -1 - k for k, node in enumerate(inputs)}
    operators: list[Operator] = []
    unknown: set[str] = set()
    for node in topological(outputs):
        if node.op in (CONSTANT, INPUT):
            continue
        if node.op in LINEAR:
            node.attrs = {**node.attrs, "has_bias": len(node.inputs) > 2}
        if node.op not in OPERATORS:
            unknown.add(node.op)
            node.op = vocabulary.category(node.op)
        index[id(node)] = len(operators)
        if trace is not None:
            trace.operators.append(node.origins)
        known = OPERATORS[node.op].attrs
        operators.append(
            Operator(
                op=node.op,
                attrs={name: node.attrs[name] for name in known},
                inputs=tuple(index[id(operand)] for operand in node.data_inputs),
                type=node.type,
                flops=costs.flops(node),
                param_bytes=costs.param_bytes(node),
                read_bytes=costs.read_bytes(node),
                write_bytes=node.type.num_bytes,
                source=node.source,
            )
        )
    returned = tuple(index[id(node)] for node in outputs if not node.is_constant)
    return OpGraph(
        inputs=tuple(node.type for node in inputs),
        operators=tuple(operators),
        outputs=returned,
        unknown_ops=tuple(sorted(unknown)),
    )
