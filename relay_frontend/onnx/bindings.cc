#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <string>

#include "relay_frontend/bindings.h"
#include "relay_frontend/canonical/canonicalize.h"
#include "relay_frontend/onnx/reader.h"

namespace nb = nanobind;

namespace relay_frontend {

namespace {

Text view(const nb::bytes& data) { return {data.c_str(), data.size()}; }

nb::bytes to_bytes(Text text) { return nb::bytes(text.data(), text.size()); }

// Calls back to Python. What is wrong there is said once more when Python reads the model.
template <class... Arguments>
nb::object call(const nb::callable& function, const Arguments&... arguments) {
  try {
    return function(arguments...);
  } catch (nb::python_error& error) {
    if (!error.matches(PyExc_Exception)) throw;  // such as KeyboardInterrupt
    throw Unsupported("onnx: shape inference failed");
  }
}

// An operand as native.infer_node takes it: element type, shape, and values where known.
nb::object to_python(const Node* operand) {
  if (operand == nullptr) return nb::none();
  nb::list shape;
  for (const std::int64_t extent : operand->type.shape) shape.append(extent);
  nb::object values = nb::none();
  const ConstantValue* value = operand->value;
  if (value != nullptr && value->shape == operand->type.shape) {
    nb::list list;
    for (std::size_t i = 0; i < value->size(); ++i) {
      if (value->integral) {
        list.append(value->ints[i]);
      } else {
        list.append(value->reals[i]);
      }
    }
    values = list;
  }
  return nb::make_tuple(onnx::data_type_of(operand->type.dtype), shape, values);
}

onnx::NodeTypes infer_node(Context& context, const nb::callable& function,
                           const nb::bytes& versions, Text node, Operands operands) {
  nb::list described;
  for (const Node* operand : operands) described.append(to_python(operand));
  const nb::object types =
      call(function, versions, onnx::opset(view(versions)), to_bytes(node), described);
  onnx::NodeTypes result;
  for (const nb::handle row : types) {
    const auto shape = nb::cast<std::vector<std::int64_t>>(row[1]);
    result.emplace_back(nb::cast<std::string>(row[0]),
                        context.type(shape, dtype_named(nb::cast<Text>(row[2]))));
  }
  return result;
}

// `parse` is onnx.ModelProto.FromString, `infer_model` is
// onnx.onnx_cpp2py_export.shape_inference.infer_shapes, `infer_node` is native.infer_node.
std::unique_ptr<Graph> read_onnx(nb::bytes model, const onnx::Shapes& shapes,
                                 const nb::callable& parse, const nb::callable& infer_model,
                                 const nb::callable& infer_node_types) {
  // Threads read networks beside each other; only ONNX's own inference needs Python.
  std::optional<std::string> smaller;
  {
    const nb::gil_scoped_release threads;
    smaller = onnx::without_weights(view(model), shapes);
  }
  if (smaller) model = to_bytes(*smaller);
  nb::object inferred;
  const auto infer_all = [&](Text encoded) {
    const nb::gil_scoped_acquire python;
    constexpr bool kCheckType = false, kStrictMode = true, kDataProp = false;
    inferred = call(infer_model, to_bytes(encoded), kCheckType, kStrictMode, kDataProp);
    return view(nb::cast<nb::bytes>(inferred));
  };
  const nb::bytes versions = to_bytes(onnx::versions(view(model)));
  const auto check = [&] {
    const nb::gil_scoped_acquire python;
    call(parse, model);
  };
  const auto infer_one = [&](Context& context, Text node, Operands operands) {
    const nb::gil_scoped_acquire python;
    return infer_node(context, infer_node_types, versions, node, operands);
  };
  const nb::gil_scoped_release threads;
  auto context = std::make_unique<Context>();
  Network network = onnx::read(*context, view(model), check, infer_all, infer_one);
  return canonicalize(std::move(context), std::move(network));
}

}  // namespace

void bind_onnx(nb::module_& module) {
  module.def("read_onnx", &read_onnx, nb::arg("model"), nb::arg("shapes"), nb::arg("parse"),
             nb::arg("infer_model"), nb::arg("infer_node"));
}

}  // namespace relay_frontend
