"""Networks written in torch: one graph from the module, from its ONNX file and from Relax."""

from __future__ import annotations

import subprocess
import sys

import onnx
import pytest

from relay_frontend import load
from relay_frontend.errors import DynamicShapeError, InputError, NetworkError
from relay_frontend.onnx import read_onnx
from tests import networks
from tests.networks import TORCH_FILES, TORCH_NETWORKS

torch = pytest.importorskip("torch")
from tests.relay_frontend import torch_networks  # noqa: E402 (needs torch)

pytestmark = pytest.mark.relax


def _file(name):
    return TORCH_FILES / f"{name}.onnx"


def _assert_equal(graph, name):
    expected = read_onnx(_file(name))
    assert graph.unknown_ops == expected.unknown_ops == ()
    assert graph.digest == expected.digest
    assert graph.flops == expected.flops
    assert graph.memory_bytes == expected.memory_bytes


@pytest.mark.parametrize("name", networks.torch_networks("torch"))
def test_a_module_gives_the_graph_of_its_onnx_file(name):
    module, inputs = torch_networks.build(name)
    _assert_equal(load(module, example_inputs=inputs), name)


@pytest.mark.parametrize("name", networks.torch_networks("relax"))
def test_relax_gives_the_graph_of_the_onnx_file(name):
    from relay_frontend.relax.importer import import_onnx  # noqa: PLC0415

    _assert_equal(load(import_onnx(onnx.load(_file(name)))), name)


@pytest.mark.filterwarnings("ignore")  # torch warns of its own internals
@pytest.mark.parametrize("name", networks.torch_networks("core"))
def test_a_program_in_core_operators_gives_the_graph_of_the_onnx_file(name):
    from tvm.relax.frontend.torch import from_exported_program  # noqa: PLC0415

    module, inputs = torch_networks.build(name)
    program = torch.export.export(module, inputs)
    _assert_equal(load(from_exported_program(program, keep_params_as_input=True)), name)


@pytest.mark.parametrize("name", TORCH_NETWORKS)
def test_the_files_are_what_the_tool_writes(name):
    from tools.export_torch_networks import export  # noqa: PLC0415

    assert _file(name).stat().st_size < 100_000
    assert read_onnx(export(name)).digest == read_onnx(_file(name)).digest


class Function(torch.nn.Module):
    """A function, or a layer, as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


F = torch.nn.functional
_IMAGE, _TEXT, _HEADS = (2, 8, 12, 12), (2, 10, 16), (2, 4, 10, 8)
LAYERS = {
    "attention": (F.scaled_dot_product_attention, [_HEADS] * 3),
    "attention with a mask": (
        lambda q, k, v, mask: F.scaled_dot_product_attention(q, k, v, mask > 0),
        [*[_HEADS] * 3, (2, 1, 10, 10)],
    ),
    "multi-head attention": (torch.nn.MultiheadAttention(16, 4), [_TEXT] * 3),
    "batch norm 1d": (torch.nn.BatchNorm1d(10), [_TEXT]),
    "group norm": (torch.nn.GroupNorm(4, 8), [_IMAGE]),
    "instance norm": (torch.nn.InstanceNorm2d(8, affine=True), [_IMAGE]),
    "layer norm over two": (torch.nn.LayerNorm((10, 16)), [_TEXT]),
    "normalize": (lambda x: F.normalize(x, dim=-1), [_TEXT]),
    "pixel shuffle": (torch.nn.PixelShuffle(2), [_IMAGE]),
    "pixel unshuffle": (torch.nn.PixelUnshuffle(2), [_IMAGE]),
    "mish": (torch.nn.Mish(), [_IMAGE]),
    "selu": (torch.nn.SELU(), [_IMAGE]),
    "celu": (torch.nn.CELU(), [_IMAGE]),
    "softplus": (torch.nn.Softplus(), [_IMAGE]),
    "gelu by tanh": (torch.nn.GELU(approximate="tanh"), [_IMAGE]),
    "glu": (torch.nn.GLU(1), [_IMAGE]),
    "transposed convolution": (torch.nn.ConvTranspose2d(8, 4, 3, 2, 1, 1), [_IMAGE]),
    "same convolution": (torch.nn.Conv2d(8, 8, 4, padding="same"), [_IMAGE]),
    "pooling": (torch.nn.AvgPool2d(3, 2, 1, count_include_pad=False), [_IMAGE]),
    "adaptive pooling": (torch.nn.AdaptiveAvgPool2d(3), [_IMAGE]),
    "bicubic": (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), [_IMAGE]),
    "chunks": (lambda x: torch.mul(*x.chunk(2, 1)), [_IMAGE]),
    "parts": (lambda x: torch.cat(x.split([3, 5], 1)[::-1], 1), [_IMAGE]),
    "unbound": (lambda x: sum(x.unbind(1)), [_TEXT]),
    "stack": (lambda x, y: torch.stack([x, y], 1), [_TEXT, _TEXT]),
    "roll": (lambda x: x.roll(2, 1), [_TEXT]),
    "maximum and position": (lambda x: x.max(1), [_TEXT]),
    "largest": (lambda x: x.topk(3, 1), [_TEXT]),
    "norm": (lambda x: x.norm(dim=-1), [_TEXT]),
    "variance": (lambda x: x.var(-1, unbiased=False), [_TEXT]),
    "einsum": (lambda x, y: torch.einsum("bid,bjd->bij", x, y), [_TEXT, _TEXT]),
}


@pytest.mark.filterwarnings("ignore")  # torch warns of its own internals
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_gives_the_graph_of_its_onnx_export(name):
    function, shapes = LAYERS[name]
    module, inputs = Function(function).eval(), tuple(torch.zeros(shape) for shape in shapes)
    graph, expected = load(module, example_inputs=inputs), read_onnx(_exported(module, inputs))
    assert graph.unknown_ops == ()
    assert [o.op for o in graph] == [o.op for o in expected]
    assert graph.digest == expected.digest


class Recurrent(torch.nn.Module):
    """A recurrence whose sequence and final states are both used."""

    def __init__(self, kind, **options):
        super().__init__()
        self.layer = getattr(torch.nn, kind)(8, 5, **options)

    def forward(self, x):
        sequence, state = self.layer(x)
        state = state[0] if isinstance(state, tuple) else state
        return sequence, state


def _exported(module, inputs):
    import io  # noqa: PLC0415

    file = io.BytesIO()
    torch.onnx.export(module, inputs, file, dynamo=False, opset_version=17)
    return onnx.load_from_string(file.getvalue())


@pytest.mark.filterwarnings("ignore")  # as above
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bidirectional": True, "batch_first": True},
        {"num_layers": 2, "bias": False},
        {"num_layers": 2, "bidirectional": True},
    ],
    ids=str,
)
def test_recurrent_layers_are_one_operator_each(kind, options):
    module, inputs = Recurrent(kind, **options).eval(), (torch.zeros(3, 2, 8),)
    graph = load(module, example_inputs=inputs)
    recurrent = [operator for operator in graph if operator.op == kind.lower()]
    assert len(recurrent) == options.get("num_layers", 1)
    assert recurrent[0].attrs["hidden_size"] == 5
    assert recurrent[0].attrs["num_directions"] == 1 + ("bidirectional" in options)
    assert graph.digest == read_onnx(_exported(module, inputs)).digest


def test_a_module_is_read_as_in_inference_and_left_in_training():
    module, inputs = torch_networks.build("unet")
    expected = load(module, example_inputs=inputs)
    module.train()
    module.enter[1].eval()
    assert load(module, example_inputs=inputs) == expected
    assert module.training
    assert not module.enter[1].training


def test_an_exported_program_needs_no_inputs():
    module, inputs = torch_networks.build("efficientnet")
    program = torch.export.export(module, inputs)
    assert load(program) == load(module, example_inputs=inputs)
    with pytest.raises(InputError, match=r"not for torch\.export\.ExportedProgram"):
        load(program, example_inputs=inputs)


def test_weights_are_shared_with_the_imported_module(monkeypatch):
    from relay_frontend.torch import reader  # noqa: PLC0415

    imported = []
    read = reader.read_relax
    monkeypatch.setattr(reader, "read_relax", lambda mod: imported.append(mod) or read(mod))
    module, inputs = torch_networks.build("vit")
    load(module, example_inputs=inputs)
    shared = {torch.from_dlpack(p).data_ptr() for p in imported[0]["main"].attrs["params"]}
    assert shared == {parameter.data_ptr() for parameter in module.parameters()}


def test_a_module_without_inputs_is_told_what_to_give():
    module, _ = torch_networks.build("vit")
    with pytest.raises(NetworkError, match=r"Vit has no shapes.*example_inputs="):
        load(module)


def test_symbolic_dimensions_are_named():
    module = torch.nn.Linear(8, 4)
    batch = torch.export.Dim("batch", min=2, max=16)
    program = torch.export.export(
        module, (torch.zeros(3, 8),), dynamic_shapes={"input": {0: batch}}
    )
    with pytest.raises(DynamicShapeError, match=r"'input'.*dimension 0 is symbolic"):
        load(program)


def test_what_cannot_be_exported_is_reported():
    class Branching(torch.nn.Module):
        def forward(self, x):
            return x + 1 if x.sum() > 0 else x - 1

    with pytest.raises(NetworkError, match=r"torch\.export cannot export Branching"):
        load(Branching(), example_inputs=(torch.zeros(3),))


def test_an_operator_that_the_importer_lacks_is_named():
    class Rare(torch.nn.Module):
        def forward(self, x):
            return torch.special.i0e(x)

    with pytest.raises(NetworkError, match=r"importer rejects.*i0e"):
        load(Rare(), example_inputs=(torch.zeros(3),))


def test_other_objects_are_not_taken_for_torch():
    with pytest.raises(NetworkError, match="cannot read a network from object"):
        load(object(), example_inputs=())


def test_an_onnx_file_is_loaded_without_torch_and_tvm():
    code = (
        "import sys; from relay_frontend import load; "
        f"load({str(_file('gpt'))!r}); assert not {{'torch', 'tvm'}} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
