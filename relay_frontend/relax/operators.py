"""From Relax operators to canonical nodes: one converter per operator that has attributes.

The converters are in one module per subject.
"""

from __future__ import annotations

from relay_frontend.graph import AttrValue
from relay_frontend.nodes import Node, constant
from relay_frontend.relax.call import Converter, RelaxCall
from relay_frontend.relax.constants import fold
from relay_frontend.relax.elementwise import ELEMENTWISE
from relay_frontend.relax.moves import MOVES
from relay_frontend.relax.normalizations import NORMALIZATIONS
from relay_frontend.relax.products import PRODUCTS
from relay_frontend.relax.reductions import REDUCTIONS
from relay_frontend.relax.tir import TIR
from relay_frontend.relax.windows import WINDOWS
from relay_frontend.vocabulary import plain_operators


def convert(call: RelaxCall) -> list[Node]:
    """The nodes of a call's results; an operator outside of the vocabulary keeps its own name.

    An operator with several results has the type of the first, and those behind it are ``item``
    nodes of it. Each part of a ``split`` is a node of its own.
    """
    if all(operand.is_constant for operand in call.inputs) or call.name in _ALWAYS_CONSTANT:
        return [constant(type_, fold(call, type_)) for type_ in call.types]
    if call.name == "split":
        return [_part(call, position) for position in range(len(call.types))]
    converter = _CONVERTERS.get(call.name)
    plain = _PLAIN.get(call.name)
    if converter is not None:
        first = converter(call)
    else:
        first = call.node(plain) if plain else call.unknown()
    further = call.types[1:]
    if call.name in _TRAINING_RESULTS:
        return [first, *(constant(type_) for type_ in further)]
    items = [
        Node("item", type_, [first], {"index": position}, source=call.source)
        for position, type_ in enumerate(further, start=1)
    ]
    return [first, *items]


# Values that do not depend on the content of an operand, but on its type at most.
_ALWAYS_CONSTANT = frozenset(
    {"eye_like", "full_like", "ones_like", "shape_of", "size", "zeros_like"}
)
# The results behind the first: running statistics and masks, which inference leaves alone.
_TRAINING_RESULTS = frozenset({"nn.batch_norm", "nn.dropout"})


def _part(call: RelaxCall, position: int) -> Node:
    axis = int(call.attrs.axis) % call.rank
    attrs: dict[str, AttrValue] = {"axis": axis, "index": position}
    return Node("split", call.types[position], call.inputs, attrs, source=call.source)


_PLAIN = plain_operators("relax")

_CONVERTERS: dict[str, Converter] = {
    **ELEMENTWISE,
    **MOVES,
    **NORMALIZATIONS,
    **PRODUCTS,
    **REDUCTIONS,
    **TIR,
    **WINDOWS,
}
