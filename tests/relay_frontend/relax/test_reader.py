"""The Relax reader: forms of modules, what it inlines and folds, what it says where it stops."""

from __future__ import annotations

import pytest

from relay_frontend import load
from relay_frontend.errors import DynamicShapeError, NetworkError
from tests.networks import conv_bn_relu

pytestmark = pytest.mark.relax


def _script(text):
    """The module that TVMScript writes down."""
    import tvm.script  # noqa: PLC0415

    indented = "\n".join(f"    {line}" for line in text.strip("\n").splitlines())
    return tvm.script.from_source(f"@I.ir_module\nclass Module:\n{indented}\n")


def _graph(text, params=None):
    from relay_frontend.relax import read_relax  # noqa: PLC0415

    return read_relax(_script(text), params)


def _ops(graph):
    return [operator.op for operator in graph]


PLAIN = """
@R.function
def main(x: R.Tensor((2, 8), "float32"), w: R.Tensor((8, 4), "float32")):
    a = R.matmul(x, w)
    b = R.nn.relu(a)
    return R.exp(b)
"""
DATAFLOW = """
@R.function
def main(x: R.Tensor((2, 8), "float32"), w: R.Tensor((8, 4), "float32")):
    with R.dataflow():
        a = R.matmul(x, w)
        b = R.nn.relu(a)
        R.output(b)
    c = R.exp(b)
    return c
"""
INLINED = """
@R.function(private=True)
def rectified(a: R.Tensor((2, 4), "float32")) -> R.Tensor((2, 4), "float32"):
    return R.nn.relu(a)

@R.function(private=True)
def product(
    x: R.Tensor((2, 8), "float32"), w: R.Tensor((8, 4), "float32")
) -> R.Tensor((2, 4), "float32"):
    cls = Module
    a = R.matmul(x, w)
    b = cls.rectified(a)
    return b

@R.function
def main(x: R.Tensor((2, 8), "float32"), w: R.Tensor((8, 4), "float32")):
    cls = Module
    b = cls.product(x, w)
    return R.exp(b)
"""


@pytest.mark.parametrize("text", [DATAFLOW, INLINED], ids=["dataflow", "inlined"])
def test_the_form_of_a_module_does_not_matter(text):
    plain = _graph(PLAIN, params=["w"])
    assert _ops(plain) == ["dense", "relu", "exp"]
    assert _graph(text, params=["w"]).digest == plain.digest


def test_a_function_may_be_called_twice():
    graph = _graph("""
@R.function(private=True)
def twice(a: R.Tensor((2, 8), "float32")) -> R.Tensor((2, 8), "float32"):
    b = R.add(a, a)
    return b

@R.function
def main(x: R.Tensor((2, 8), "float32")):
    cls = Module
    a = cls.twice(x)
    b = cls.twice(a)
    return b
""")
    assert [operator.inputs for operator in graph] == [(-1, -1), (0, 0)]


def test_tuples_may_be_nested():
    graph = _graph("""
@R.function
def main(x: R.Tensor((2, 8), "float32"), y: R.Tensor((2, 8), "float32")):
    a = R.exp(x)
    t = ((a, y), (x, (y, a)))
    inner = t[1]
    pair = inner[1]
    b = pair[1]
    c = R.add(b, pair[0])
    return (c, t)
""")
    assert _ops(graph) == ["exp", "add"]
    assert graph.operators[1].inputs == (0, -2)
    assert graph.outputs == (1, 0, -2, -1, -2, 0)


def test_a_tuple_of_parameters_is_one_of_constants():
    graph = _graph(
        """
@R.function
def main(
    x: R.Tensor((2, 8), "float32"),
    weights: R.Tuple(R.Tensor((8, 4), "float32"), R.Tensor((4,), "float32")),
):
    w = weights[0]
    b = weights[1]
    a = R.matmul(x, w)
    return R.add(a, b)
""",
        params=["weights"],
    )
    assert _ops(graph) == ["dense"]
    assert graph.operators[0].param_bytes == 4 * (8 * 4 + 4)


def test_arithmetic_on_static_shapes_is_no_operator():
    graph = _graph("""
@R.function
def main(x: R.Tensor((2, 8, 4), "float32")):
    s = R.shape_of(x)
    t = R.shape_to_tensor(s)
    n = R.take(t, R.const(1, "int64"), axis=0)
    last = R.subtract(n, R.const(1, "int64"))
    y = R.take(x, last, axis=1)
    return y
""")
    assert _ops(graph) == ["slice", "reshape"]
    assert graph.operators[0].attrs["begin"] == (0, 7, 0)


def test_what_depends_on_types_alone_is_constant():
    graph = _graph("""
@R.function
def main(x: R.Tensor((2, 8), "float32")):
    ones = R.ones_like(x)
    zeros = R.zeros(R.shape([2, 8]), "float32")
    a = R.add(ones, zeros)
    return R.add(x, a)
""")
    assert _ops(graph) == ["add"]


def test_further_results_are_items_where_they_are_used():
    text = """
@R.function
def main(x: R.Tensor((2, 8), "float32")):
    t = R.topk(x, k=3)
    y = t[{}]
    return y
"""
    assert _ops(_graph(text.format(0))) == ["top_k"]
    assert _ops(_graph(text.format(1))) == ["top_k", "item"]


def test_running_statistics_are_no_operators():
    graph = _graph(
        """
@R.function
def main(x: R.Tensor((2, 8, 4, 4), "float32"), s: R.Tensor((8,), "float32")):
    t = R.nn.batch_norm(x, s, s, s, s, axis=1)
    y = t[0]
    m = t[1]
    return (y, m)
""",
        params=["s"],
    )
    assert _ops(graph) == ["batch_norm"]
    assert graph.outputs == (0,)


def test_fused_attention_is_that_in_parts():
    fused = _graph("""
@R.function
def main(
    q: R.Tensor((2, 10, 4, 8), "float32"),
    k: R.Tensor((2, 10, 4, 8), "float32"),
    v: R.Tensor((2, 10, 4, 8), "float32"),
):
    return R.nn.attention(q, k, v)
""")
    parts = _graph("""
@R.function
def main(
    q: R.Tensor((2, 10, 4, 8), "float32"),
    k: R.Tensor((2, 10, 4, 8), "float32"),
    v: R.Tensor((2, 10, 4, 8), "float32"),
):
    a = R.permute_dims(q, [0, 2, 1, 3])
    b = R.permute_dims(k, [0, 2, 3, 1])
    c = R.permute_dims(v, [0, 2, 1, 3])
    s = R.divide(R.matmul(a, b), R.const(2.8284271, "float32"))
    y = R.matmul(R.nn.softmax(s, axis=-1), c)
    return R.permute_dims(y, [0, 2, 1, 3])
""")
    assert _ops(fused) == ["transpose"] * 3 + ["attention", "transpose"]
    assert parts.digest == fused.digest


def test_slices_that_cut_a_tensor_are_a_split():
    text = """
@R.function
def main(x: R.Tensor((2, 12), "float32")):
    a = R.strided_slice(x, axes=[1], begin=[0], end=[4])
    b = R.strided_slice(x, axes=[1], begin=[4], end=[8])
    c = R.strided_slice(x, axes=[1], begin=[8], end=[{}])
    return (a, b, c)
"""
    graph = _graph(text.format(12))
    assert [(o.op, o.attrs["index"]) for o in graph] == [("split", 0), ("split", 1), ("split", 2)]
    assert _ops(_graph(text.format(11))) == ["slice"] * 3


def test_a_function_outside_of_the_module_is_opaque_and_listed():
    graph = _graph("""
@R.function
def main(x: R.Tensor((2, 8), "float32")):
    y = R.call_dps_packed("my.kernel", (x,), out_ty=R.Tensor((2, 8), "float32"))
    return y
""")
    assert _ops(graph) == ["opaque"]
    assert graph.unknown_ops == ("my.kernel",)


def test_a_legalized_module_is_reported_as_such():
    from tvm import relax  # noqa: PLC0415

    from relay_frontend.relax import read_relax  # noqa: PLC0415
    from relay_frontend.relax.importer import import_onnx  # noqa: PLC0415

    module = relax.transform.LegalizeOps()(import_onnx(conv_bn_relu()))
    with pytest.raises(NetworkError, match=r"legalized.*before LegalizeOps"):
        read_relax(module)


def test_control_flow_is_reported_as_such():
    with pytest.raises(NetworkError, match="'y' is an If; control flow is not read"):
        _graph("""
@R.function
def main(x: R.Tensor((2, 8), "float32"), c: R.Tensor((), "bool")):
    if c:
        y = R.add(x, x)
    else:
        y = R.multiply(x, x)
    return y
""")


def test_recursion_is_reported_as_such():
    with pytest.raises(NetworkError, match="'again' calls itself"):
        _graph("""
@R.function(private=True)
def again(x: R.Tensor((2, 8), "float32")) -> R.Tensor((2, 8), "float32"):
    cls = Module
    y = cls.again(x)
    return y

@R.function
def main(x: R.Tensor((2, 8), "float32")):
    cls = Module
    y = cls.again(x)
    return y
""")


def test_functions_that_double_the_network_at_every_level_are_refused(monkeypatch):
    from relay_frontend.relax import reader  # noqa: PLC0415

    monkeypatch.setattr(reader, "MAX_INLINED", 1_000)  # the native reader's is larger
    text = """
@R.function
def {}(x: R.Tensor((2, 8), "float32")) -> R.Tensor((2, 8), "float32"):
    cls = Module
    y = {}(x)
    z = {}(y)
    return z
"""
    names = ["R.exp", *(f"cls.f{level}" for level in range(18))]
    levels = [text.format(f"f{level}", name, name) for level, name in enumerate(names[:-1])]
    with pytest.raises(NetworkError, match="over 1000 calls of functions"):
        _graph("".join([*levels, text.format("main", names[-1], names[-1])]))


def test_a_symbolic_dimension_is_named_with_what_to_do():
    with pytest.raises(DynamicShapeError, match=r"'x'.*dimension 0 is symbolic \(n\).*'n': 1"):
        _graph("""
@R.function
def main(x: R.Tensor(("n", 8), "float32")):
    return R.exp(x)
""")


@pytest.mark.parametrize("shapes", [None, {"x": (2, 8)}])
def test_a_module_without_main_is_rejected(shapes):
    module = _script("""
@R.function
def other(x: R.Tensor((2, 8), "float32")):
    return R.exp(x)
""")
    with pytest.raises(NetworkError, match="no function 'main'"):
        load(module, shapes=shapes)


def test_what_a_converter_stumbles_over_names_operator_and_variable(monkeypatch):
    from relay_frontend import native  # noqa: PLC0415
    from relay_frontend.relax import operators as relax_operators  # noqa: PLC0415

    def stumble(call):
        raise KeyError(call.name)

    monkeypatch.setattr(native, "module", None)
    monkeypatch.setitem(relax_operators._CONVERTERS, "clip", stumble)
    with pytest.raises(NetworkError, match=r"operator clip 'bounded'.*KeyError.*float32\[2, 8\]"):
        _graph("""
@R.function
def main(x: R.Tensor((2, 8), "float32")):
    bounded = R.clip(x, 0, 6)
    return bounded
""")


SYMBOLIC = """
@R.function
def main(x: R.Tensor(("n", 8), "float32"), y: R.Tensor(("n", 8), "float32")):
    n = T.int64()
    total = R.add(x, y)
    return total
"""


def test_symbolic_dimensions_are_bound():
    graph = load(_script(SYMBOLIC), shapes={"x": (2, 8)})
    assert [t.shape for t in graph.inputs] == [(2, 8), (2, 8)]
    assert graph.operators[0].shape == (2, 8)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": (2, 8)}, "no input named 'z'; the inputs are x, y"),
        ({"x": (2, 8, 1)}, "'x' has the type"),
        ({"x": (2, 9)}, "'x': dimension 1 is 8, not 9"),
        ({"x": (2, 8), "y": (3, 8)}, "'y': dimension 0 is 2, not 3"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes, message):
    with pytest.raises(NetworkError, match=message):
        load(_script(SYMBOLIC), shapes=shapes)
