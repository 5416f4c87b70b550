"""Where values come from: followed through canonicalization, and through a compiler's passes.

The calls of a network's operators are numbered, and their numbers written where passes leave them
alone (spans, names of variables). An operator of the canonical graph has the numbers of the calls
that it was made of, a kernel those of the calls that it computes; what they share makes the
operator a member of the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from relay_frontend.errors import NetworkError
from relay_frontend.graph import Operator, OpGraph
from relay_frontend.nodes import CONSTANT, INPUT, Node, topological
from relay_frontend.operators import OPERATORS

Origins = frozenset[int]
"""Numbers of calls in the network as it was given."""

NONE: Origins = frozenset()
_RETURN = -1  # the call that stands for the return of the results

_MARK = re.compile(r"origin((?:_\d+)+)_end")


def mark(origins: Origins) -> str:
    """A name that tells the numbers; it survives what is appended to keep names apart."""
    return f"origin{''.join(f'_{number}' for number in sorted(origins))}_end"


def marked(name: str) -> Origins:
    """The numbers in a name; none if it has no mark."""
    found = _MARK.match(name)
    return frozenset(map(int, found.group(1).split("_")[1:])) if found else NONE


# --- Through canonicalization -----------------------------------------------------------------


class Trace:
    """Follows the origins of nodes while they are rewritten.

    What a rewrite puts in place of a node was made of all nodes from there to the operands that
    both share.
    """

    def __init__(self) -> None:
        self.operators: list[Origins] = []
        """Origins of each operator of the resulting graph."""
        self._known: dict[int, Node] = {}

    def begin(self, outputs: Iterable[Node]) -> None:
        """Read the marks in what a reader has read."""
        for node in topological(outputs):
            node.origins = marked(node.source)

    def settle(self, node: Node) -> None:
        """Take ``node`` as an operand of what comes."""
        self._known[id(node)] = node

    def rewritten(self, old: Node, new: Node, absorbed: bool = False) -> None:
        """``new`` replaces ``old``.

        If it is an operand of ``old``, then ``old`` did nothing, or is ``absorbed`` by it.
        """
        if id(new) in self._known:
            if absorbed:
                new.origins |= old.origins
            return
        created, operands = self._created(new)
        replaced = self._between(old, operands)
        everything = NONE.union(*(node.origins for node in replaced or [old]))
        for node in created:
            same = [other.origins for other in replaced if other.op == node.op]
            if node is new:
                node.origins = everything
            elif same or not node.origins:
                node.origins = NONE.union(*same) if same else everything
            self.settle(node)

    def _created(self, new: Node) -> tuple[list[Node], set[int]]:
        """The nodes of a rewrite, and the older ones that it uses."""
        created: dict[int, Node] = {}
        operands: set[int] = set()
        stack = [new]
        while stack:
            node = stack.pop()
            if id(node) in self._known:
                operands.add(id(node))
            elif id(node) not in created:
                created[id(node)] = node
                stack.extend(node.inputs)
        return list(created.values()), operands

    def _between(self, old: Node, operands: set[int]) -> list[Node]:
        found: dict[int, Node] = {}
        stack = [old]
        while stack:
            node = stack.pop()
            if id(node) not in operands and id(node) not in found and node.op != INPUT:
                found[id(node)] = node
                stack.extend(node.inputs)
        return [node for node in found.values() if node.op != CONSTANT]


# --- Through passes ---------------------------------------------------------------------------


@dataclass(slots=True)
class Call:
    """One call in a module, at some stage of its compilation.

    Args:
        name: of the operator or function.
        operands: positions of the calls that compute its operands; -1 for inputs and constants.
        origins: what it computes; nothing where a pass has made it and did not tell from what.
    """

    name: str
    operands: Sequence[int]
    origins: Origins = field(default=NONE)


def returned(results: Sequence[int]) -> Call:
    """The last entry of a list of calls: it uses the results."""
    return Call("return", results, frozenset({_RETURN}))


def inherit(before: Sequence[Call], after: Sequence[Call], unrelated: Collection[str] = ()) -> None:
    """Find out what the calls compute that a pass has made anew.

    A new call stands for the calls that the pass has removed in its place: those that its consumer
    used before. If none are missing there, then it is a part of what its consumer computes.

    Args:
        before: all calls before the pass, operands first, and what :func:`returned` gives.
        after: those after it; the origins that are missing are filled in.
        unrelated: names of calls that compute nothing of the network's.
    """
    kept = {number for call in after for number in call.origins}
    users: dict[int, list[int]] = {}
    for position, call in enumerate(before):
        for number in call.origins:
            users.setdefault(number, []).append(position)
    consumers: list[list[tuple[Call, int]]] = [[] for _ in after]
    for call in after:
        for position, operand in enumerate(call.operands):
            if operand >= 0:
                consumers[operand].append((call, position))
    for call, uses in zip(reversed(after), reversed(consumers), strict=True):
        if call.origins or call.name in unrelated:
            continue
        found = NONE
        for consumer, position in uses:
            same = sorted({at for number in consumer.origins for at in users.get(number, ())})
            removed = _removed(before, same, position, len(consumer.operands), kept)
            found |= _named(before, removed, call.name) or consumer.origins
        call.origins = found - {_RETURN}


def _removed(
    before: Sequence[Call], users: Sequence[int], position: int, count: int, kept: set[int]
) -> list[int]:
    """The removed calls whose value a consumer of ``count`` operands used at ``position``."""
    if len(users) == 1 and len(before[users[0]].operands) == count:
        used = [before[users[0]].operands[position]]
    else:
        used = [operand for user in users for operand in before[user].operands]
    return [at for at in used if at >= 0 and at not in users and not before[at].origins & kept]


def _named(before: Sequence[Call], removed: list[int], name: str) -> Origins:
    """Origins of the removed call of that name, else of all those that were removed with it."""
    same = [before[at].origins for at in removed if before[at].name == name]
    if same:
        return NONE.union(*same)
    return NONE.union(*(before[at].origins for at in removed))


# --- Members ----------------------------------------------------------------------------------

_MERGED = ("elementwise", "broadcast", "injective")


def members(
    graph: OpGraph, operators: Sequence[Origins], kernels: Sequence[Origins]
) -> list[tuple[int, ...]]:
    """The operators of ``graph`` that each kernel computes, by their positions.

    An operator that a compiler has merged into the computation of its consumers (a scale that
    became part of weights, one transpose out of two) belongs to their kernels.

    Args:
        graph: the network.
        operators: origins of its operators.
        kernels: origins of what the kernels compute.

    Raises:
        NetworkError: an operator is in no kernel.
    """
    owners: dict[int, set[int]] = {}
    for kernel, origins in enumerate(kernels):
        for number in origins:
            owners.setdefault(number, set()).add(kernel)
    found = [{k for number in origins for k in owners.get(number, ())} for origins in operators]
    consumers: list[list[int]] = [[] for _ in operators]
    for producer, consumer in graph.edges:
        consumers[producer].append(consumer)
    nearest = [set(own) for own in found]  # kernels of an operator, else of its consumers
    for position in reversed(range(len(operators))):
        operator = graph.operators[position]
        if found[position]:
            continue
        nearest[position] = {k for consumer in consumers[position] for k in nearest[consumer]}
        if operator.op == "reshape":
            continue
        if operator.op == "batch_norm" or OPERATORS[operator.op].category in _MERGED:
            found[position] = nearest[position]
        if not found[position]:
            raise _no_kernel(operator, position)
    return [
        tuple(position for position, own in enumerate(found) if kernel in own)
        for kernel in range(len(kernels))
    ]


def _no_kernel(operator: Operator, position: int) -> NetworkError:
    return NetworkError(
        f"operator {position} of the network ({operator.op}, {operator.type}) is in no kernel: TVM "
        "has none for it, or one of its passes has rewritten it beyond recognition"
    )
