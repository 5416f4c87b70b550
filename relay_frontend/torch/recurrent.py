"""Torch's recurrent layers as one call per layer, where TVM's importer writes out every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import relax

_Emit = Callable[[Any], Any]


def _converter(op: str, states: int) -> Callable[[Any, Any], Any]:
    """A converter for ``aten.<op>.input``.

    Its arguments are the sequence, the initial states (a list for ``lstm``), the parameters,
    ``has_biases``, ``num_layers``, ``dropout``, ``train``, ``bidirectional``, ``batch_first``.
    """

    def convert(node: Any, importer: Any) -> Any:
        environment, emit = importer.env, importer.block_builder.emit
        data = environment[node.args[0]]
        given = node.args[1] if states > 1 else [node.args[1]]
        initial = [environment[state] for state in given]
        parameters = [environment[parameter] for parameter in node.args[2]]
        has_biases, layers, _, _, bidirectional, batch_first = node.args[3:9]
        directions = 2 if bidirectional else 1
        if len(parameters) != layers * directions * (4 if has_biases else 2):
            raise NotImplementedError(f"{op} with projections")
        if batch_first:
            data = emit(relax.op.permute_dims(data, (1, 0, 2)))
        count = len(parameters) // layers
        finals: list[list[Any]] = [[] for _ in range(states)]
        for layer in range(layers):
            own = [_layer_state(emit, state, layer, layers, directions) for state in initial]
            weights = parameters[layer * count : (layer + 1) * count]
            result = emit(_call(op, [data, *weights, *own], directions))
            data = _joined_directions(emit, emit(relax.TupleGetItem(result, 0)))
            for state in range(states):
                finals[state].append(emit(relax.TupleGetItem(result, 1 + state)))
        if batch_first:
            data = emit(relax.op.permute_dims(data, (1, 0, 2)))
        last = [f[0] if layers == 1 else emit(relax.op.concat(f, axis=0)) for f in finals]
        return emit(relax.Tuple([data, *last]))

    return convert


def _layer_state(emit: _Emit, state: Any, layer: int, layers: int, directions: int) -> Any:
    if layers == 1:
        return state
    begin = layer * directions
    return emit(relax.op.strided_slice(state, [0], [begin], [begin + directions]))


def _call(op: str, operands: Sequence[Any], directions: int) -> Any:
    """A call whose results are ``[length, directions, batch, hidden]`` and the final states."""
    length, batch, _ = operands[0].ty.shape.values
    state = operands[-1].ty
    hidden = state.shape.values[-1]
    sequence = relax.TensorType([length, directions, batch, hidden], str(state.dtype))
    states = 2 if op == "lstm" else 1
    return relax.Call(
        relax.ExternFunc(f"recurrent.{op}"),
        list(operands),
        ty_args=[relax.TupleType([sequence, *[state] * states])],
    )


def _joined_directions(emit: _Emit, sequence: Any) -> Any:
    length, directions, batch, hidden = sequence.ty.shape.values
    beside = emit(relax.op.permute_dims(sequence, (0, 2, 1, 3)))
    return emit(relax.op.reshape(beside, (length, batch, directions * hidden)))


RECURRENT: dict[str, Callable[[Any, Any], Any]] = {
    "lstm.input": _converter("lstm", 2),
    "gru.input": _converter("gru", 1),
    "rnn_relu.input": _converter("rnn", 1),
    "rnn_tanh.input": _converter("rnn", 1),
}
"""Converters for :func:`tvm.relax.frontend.torch.from_exported_program`, by torch operator."""
