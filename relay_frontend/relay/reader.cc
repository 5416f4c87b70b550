// Relay -> Graph; twin of reader.py.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "relay_frontend/bindings.h"
#include "relay_frontend/canonical/canonicalize.h"
#include "relay_frontend/relay/operators.h"

namespace nb = nanobind;

namespace relay_frontend {

namespace {

// --- Parameters that nobody named --------------------------------------------------------------

// Positions [1, n] of the operands that hold weights; 0 where there are none.
std::size_t weight_operands(Text op) {
  static const std::unordered_map<Text, std::size_t> counts{
      {"nn.batch_norm", 4},
      {"nn.bias_add", 1},
      {"nn.conv1d", 1},
      {"nn.conv1d_transpose", 1},
      {"nn.conv2d", 1},
      {"nn.conv2d_transpose", 1},
      {"nn.conv3d", 1},
      {"nn.conv3d_transpose", 1},
      {"nn.dense", 1},
      {"nn.group_norm", 2},
      {"nn.instance_norm", 2},
      {"nn.layer_norm", 2},
      {"nn.prelu", 1},
      {"qnn.conv2d", 5},
      {"qnn.dense", 5},
      {"qnn.dequantize", 2},
      {"qnn.quantize", 2},
      {"qnn.requantize", 4},
  };
  const auto found = counts.find(op);
  return found == counts.end() ? 0 : found->second;
}

// A vector that meets computed data here is a bias or a scale: data has a batch dimension.
bool scales_or_shifts(Text op) {
  return op == "add" || op == "multiply" || op == "subtract" || op == "divide";
}

bool reshapes(Text op) {
  return op == "expand_dims" || op == "reshape" || op == "squeeze" || op == "transpose";
}

// Names of the variables that are operands of weights wherever they are used.
std::unordered_set<Text> weight_variables(const RelayProgram& program) {
  constexpr std::uint32_t kNone = UINT32_MAX;
  const std::size_t slots = program.leaves.size();
  std::vector<std::uint32_t> behind(slots, kNone);  // variable behind a reshaped variable
  std::vector<bool> is_vector(slots), as_weight(slots), as_data(slots);
  for (const auto& [name, slot] : program.variables) {
    behind[slot] = static_cast<std::uint32_t>(slot);
    is_vector[slot] = program.leaves[slot]->type.rank() <= 1;
  }
  for (std::uint32_t slot : program.outputs) {
    if (behind[slot] != kNone) as_data[behind[slot]] = true;
  }
  for (const RelayCall& call : program.calls) {
    if (reshapes(call.name) && !call.operands.empty() && behind[call.operands[0]] != kNone) {
      behind[call.first_result] = behind[call.operands[0]];
      continue;
    }
    const std::size_t weights = weight_operands(call.name);
    const bool takes_vectors = scales_or_shifts(call.name);
    for (std::size_t position = 0; position < call.operands.size(); ++position) {
      const std::uint32_t variable = behind[call.operands[position]];
      if (variable == kNone) continue;
      const bool is_weight =
          (takes_vectors && is_vector[variable]) || (position >= 1 && position <= weights);
      (is_weight ? as_weight : as_data)[variable] = true;
    }
  }
  std::unordered_set<Text> names;
  for (const auto& [name, slot] : program.variables) {
    if (as_weight[slot] && !as_data[slot]) names.insert(name);
  }
  return names;
}

// --- Parameters that the caller named ----------------------------------------------------------

const ConstantValue* value_in_memory(Context& context, const Node& node,
                                     const packed::Tensor& tensor) {
  const ConstantValue* value = small_value(context, tensor);
  if (value != nullptr && type_of(context, tensor) != node.type) {
    throw Unsupported("a parameter of another type than its variable");
  }
  return value;
}

// The content of a parameter: a TVM array, a numpy array, or whatever else has no shape.
const ConstantValue* parameter_value(Context& context, const Node& node, nb::handle value) {
  if (value.is_none() || !nb::hasattr(value, "shape")) return nullptr;
  if (nb::hasattr(value, "_tvm_handle")) {
    const auto address = nb::cast<std::uintptr_t>(value.attr("_tvm_handle"));
    if (address == 0) throw Unsupported("an array that is not there");
    return value_in_memory(context, node, *reinterpret_cast<const packed::Tensor*>(address));
  }
  nb::ndarray<nb::ro, nb::device::cpu> array;
  if (!nb::try_cast(value, array)) throw Unsupported("a parameter of an unknown class");
  std::vector<std::int64_t> shape, strides;
  for (std::size_t axis = 0; axis < array.ndim(); ++axis) {
    shape.push_back(static_cast<std::int64_t>(array.shape(axis)));
    strides.push_back(array.stride(axis));
  }
  packed::Tensor tensor{};
  tensor.data = const_cast<void*>(array.data());
  tensor.device_type = 1;
  tensor.ndim = static_cast<std::int32_t>(array.ndim());
  tensor.dtype = {array.dtype().code, array.dtype().bits, array.dtype().lanes};
  tensor.shape = shape.data();
  tensor.strides = strides.data();
  return value_in_memory(context, node, tensor);
}

// Whether a variable is one of `params`: names, or a mapping from names to arrays.
bool is_named(nb::handle params, nb::handle name) {
  const int contains = PySequence_Contains(params.ptr(), name.ptr());
  if (contains < 0) throw nb::python_error();
  return contains == 1;
}

void make_constant(Node* node, const ConstantValue* value) {
  node->op = op::constant;
  node->value = value;
}

// Turns the inputs that are parameters into constants; the others are the network's inputs.
std::vector<Node*> separate_inputs(Context& context, const RelayProgram& program,
                                   nb::handle params) {
  std::vector<Node*> inputs;
  const bool has_values = !params.is_none() && PyDict_Check(params.ptr());
  if (!has_values && !params.is_none() && nb::hasattr(params, "keys")) {
    throw Unsupported("parameters in a mapping that is no dict");
  }
  std::unordered_set<Text> weights;
  if (params.is_none()) weights = weight_variables(program);
  for (const auto& [name, slot] : program.variables) {
    Node* node = program.leaves[slot];
    const nb::str key(name.data(), name.size());
    if (params.is_none() ? weights.count(name) == 0 : !is_named(params, key)) {
      inputs.push_back(node);
    } else if (has_values) {
      const nb::object value = nb::borrow<nb::dict>(params)[key];
      make_constant(node, parameter_value(context, *node, value));
    } else {
      make_constant(node, nullptr);
    }
  }
  return inputs;
}

// --- Reading -----------------------------------------------------------------------------------

std::vector<Node*> convert_calls(Context& context, packed::Objects& objects,
                                 const RelayProgram& program) {
  std::vector<Node*> nodes = program.leaves;
  std::vector<Node*> operands;
  for (const RelayCall& call : program.calls) {
    operands.clear();
    for (std::uint32_t slot : call.operands) operands.push_back(nodes[slot]);
    const Operands inputs = context.span(operands);
    Node* first = nullptr;
    for (std::size_t position = 0; position < call.types.size(); ++position) {
      Node* node = convert(RelayOperator(context, objects, call, inputs, position, first));
      nodes[call.first_result + position] = node;
      if (first == nullptr) first = node;
    }
  }
  return nodes;
}

packed::Object handle_of(nb::handle object) {
  if (!nb::hasattr(object, "handle")) throw Unsupported("no object of this generation of TVM");
  const nb::object address = object.attr("handle").attr("value");
  return reinterpret_cast<packed::Object>(nb::cast<std::uintptr_t>(address));
}

// One attempt.
std::unique_ptr<Graph> read(nb::handle module, nb::handle params) {
  auto context = std::make_unique<Context>();
  packed::Objects objects;
  const RelayProgram program = evaluate(*context, objects, handle_of(module));
  Network network;
  network.inputs = separate_inputs(*context, program, params);
  const std::vector<Node*> nodes = convert_calls(*context, objects, program);
  for (std::uint32_t slot : program.outputs) network.outputs.push_back(nodes[slot]);
  return canonicalize(std::move(context), std::move(network));
}

// Reads after the passes that the module needs, as reader._evaluated does.
std::unique_ptr<Graph> read_relay(const std::string& library, nb::object module, nb::object params,
                                  nb::callable infer_types, nb::callable make_static) {
  packed::connect(library);
  try {
    return read(module, params);
  } catch (const Untyped&) {
    module = infer_types(module);
  } catch (const Dynamic&) {
    module = make_static(module, params);
  }
  try {
    return read(module, params);
  } catch (const Dynamic&) {
    module = make_static(module, params);
  }
  return read(module, params);
}

}  // namespace

void bind_relay(nb::module_& module) {
  // `infer_types` and `make_static` give another module for the one that they get: with its types,
  // where these are missing and this side cannot tell them, and without dynamic operators.
  module.def("read_relay", &read_relay, nb::arg("library"), nb::arg("module"),
             nb::arg("params").none(), nb::arg("infer_types"), nb::arg("make_static"));
}

}  // namespace relay_frontend
