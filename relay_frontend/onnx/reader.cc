// From encoded ONNX models to nodes; twin of reader.py.

#include "relay_frontend/onnx/reader.h"

#include <optional>
#include <unordered_map>

#include "relay_frontend/names.h"
#include "relay_frontend/onnx/operators.h"
#include "relay_frontend/onnx/protobuf.h"
#include "relay_frontend/onnx/typing.h"

namespace relay_frontend::onnx {

namespace {

using protobuf::Field;
using protobuf::Message;

// From this version of the format on, initializers have a type without being inputs too.
constexpr std::int64_t kFreeInitializers = 4;

// A ValueInfoProto.
struct Value {
  Text name;
  std::optional<TensorType> type;  // where it is a tensor of static shape
  std::int32_t data_type = 0;
  bool has_shape = false;
};

void read_tensor_type(Context& context, Text encoded, Value& value) {
  bool is_static = true;
  std::vector<std::int64_t> extents;
  Field field, dim, part;
  for (Message message(encoded); message.next(field);) {
    if (field.number == 1) value.data_type = field.enumerator();
    if (field.number != 2) continue;  // shape
    if (value.has_shape) throw Unsupported("onnx: a shape in two parts");
    value.has_shape = true;
    for (Message shape(field.bytes()); shape.next(dim);) {
      if (dim.number != 1) continue;
      std::optional<std::int64_t> extent;  // dim_value and dim_param exclude each other
      for (Message parts(dim.bytes()); parts.next(part);) {
        if (part.number == 1) extent = part.integer();
        if (part.number == 2) extent.reset();
      }
      is_static &= extent.has_value();
      extents.push_back(extent.value_or(0));
    }
  }
  if (!value.has_shape || !is_static || value.data_type == 0) return;
  value.type = context.type(extents, dtype_of(value.data_type));
}

Value read_value(Context& context, Text encoded) {
  Value value;
  bool has_type = false;
  Field field, kind;
  for (Message message(encoded); message.next(field);) {
    if (field.number == 1) value.name = field.text();
    if (field.number != 2) continue;  // type
    if (has_type) throw Unsupported("onnx: a type in two parts");
    has_type = true;
    for (Message type(field.bytes()); type.next(kind);) {
      if (kind.number == 6) continue;  // denotation
      if (kind.number != 1 || value.type) throw Unsupported("onnx: a value that is no tensor");
      read_tensor_type(context, kind.bytes(), value);
    }
  }
  return value;
}

// The name of a ValueInfoProto.
Text name_of(Text encoded) {
  Text name;
  Field field;
  for (Message message(encoded); message.next(field);) {
    if (field.number == 1) name = field.text();
  }
  return name;
}

Attribute read_attribute(Context& context, Text encoded) {
  Attribute attribute;
  std::vector<std::int64_t> ints;
  std::vector<float> floats;
  Field field;
  for (Message message(encoded); message.next(field);) {
    switch (field.number) {
      case 1:
        attribute.name = field.text();
        break;
      case 2:
        attribute.f = field.real();
        break;
      case 3:
        attribute.i = field.integer();
        break;
      case 4:
        attribute.s = field.text();
        break;
      case 5:
        if (!attribute.t.empty()) throw Unsupported("onnx: a tensor in two parts");
        attribute.t = field.bytes();
        break;
      case 7:
        protobuf::append(field, floats);
        break;
      case 8:
        protobuf::append(field, ints);
        break;
      case 20:
        attribute.type = static_cast<Attribute::Type>(field.enumerator());
        break;
      case 6:   // g
      case 11:  // graphs
        throw Unsupported("onnx: a subgraph");
      case 21:  // ref_attr_name
        throw Unsupported("onnx: an attribute of a function");
      default:
        break;
    }
  }
  // Of the other types is nothing that the vocabulary has.
  if (attribute.type < Attribute::real || attribute.type > Attribute::strings ||
      attribute.type == Attribute::graph) {
    throw Unsupported("onnx: type of an attribute");
  }
  attribute.ints = context.span(ints);
  attribute.floats = context.span(floats);
  return attribute;
}

// A NodeProto.
struct NodeProto {
  std::vector<Text> inputs, outputs;
  Text name, op_type, domain;
  std::vector<Attribute> attributes;

  Text encoded;

  NodeProto(Context& context, Text content) : encoded(content) {
    Field field;
    for (Message message(encoded); message.next(field);) {
      switch (field.number) {
        case 1:
          inputs.push_back(field.text());
          break;
        case 2:
          outputs.push_back(field.text());
          break;
        case 3:
          name = field.text();
          break;
        case 4:
          op_type = field.text();
          break;
        case 5:
          attributes.push_back(read_attribute(context, field.bytes()));
          break;
        case 7:
          domain = field.text();
          break;
        default:
          break;
      }
    }
  }

  // What the Python reader calls it; of the default domain, the operator alone.
  Text qualified_name(Context& context) const {
    if (is_default_domain(domain)) return op_type;
    return context.text(std::string(domain) + "." + std::string(op_type));
  }

  Text source() const {
    if (!name.empty()) return name;
    for (const Text output : outputs) {
      if (!output.empty()) return output;
    }
    return op_type;
  }
};

// The GraphProto of a model, in parts.
struct GraphProto {
  std::vector<Text> nodes, initializers, inputs, outputs, values;

  explicit GraphProto(Text model) {
    Text graph;
    bool has_graph = false;
    Field field;
    for (Message message(model); message.next(field);) {
      if (field.number != 7) continue;
      if (has_graph) throw Unsupported("onnx: a graph in two parts");
      has_graph = true;
      graph = field.bytes();
    }
    for (Message message(graph); message.next(field);) {
      if (std::vector<Text>* part = part_of(field.number)) part->push_back(field.bytes());
    }
  }

 private:
  std::vector<Text>* part_of(std::uint32_t number) {
    switch (number) {
      case 1:
        return &nodes;
      case 5:
        return &initializers;
      case 11:
        return &inputs;
      case 12:
        return &outputs;
      case 13:
        return &values;
      case 15:
        throw Unsupported("onnx: sparse constants");
      default:
        return nullptr;
    }
  }
};

class Reader {
 public:
  Reader(Context& context, const Check& check, const InferModel& infer_model,
         const InferNode& infer_node)
      : context_(context), check_(check), infer_model_(infer_model), infer_node_(infer_node) {}

  Network read(Text model) {
    opset_ = opset(model);
    if (opset_ < 1 || opset_ > kNewestOpset) throw Unsupported("onnx: an unknown opset");
    const GraphProto graph(model);
    named_.reserve(2 * (graph.nodes.size() + graph.initializers.size() + graph.inputs.size()));
    // Nothing goes to shape inference before its structure has been checked.
    const std::vector<Text> inputs = read_structure(graph);
    const bool is_simple = ir_version(model) >= kFreeInitializers && infer_simple(graph);
    if (is_simple) {
      check_();
    } else {
      infer_all(model);
    }
    Network network;
    for (const Text name : inputs) {
      Named& named = named_[name];
      if (!named.type) throw Unsupported("onnx: an input without a type");
      named.node = context_.input(*named.type, context_.text(name));
      network.inputs.push_back(named.node);
    }
    for (const NodeProto& proto : nodes_) read_node(proto);
    for (const Text output : graph.outputs) network.outputs.push_back(node_of(name_of(output)));
    return network;
  }

 private:
  struct Named {
    std::optional<TensorType> type;
    Node* node = nullptr;
    bool is_input = false;
    bool is_made = false;
  };

  // Reads constants and nodes; every value has one name, and is made before it is read. Gives the
  // names of the inputs that are no parameters (old models list those among the inputs too).
  std::vector<Text> read_structure(const GraphProto& graph) {
    if (graph.nodes.empty()) throw Unsupported("onnx: no operators");
    for (const Text encoded : graph.initializers) {
      Text name;
      Node* tensor = read_constant(context_, encoded, &name);
      Named& named = make(name);
      named.node = tensor;
      named.type = tensor->type;
    }
    std::vector<Text> inputs;
    for (const Text encoded : graph.inputs) read_input(encoded, inputs);
    nodes_.reserve(graph.nodes.size());
    for (const Text encoded : graph.nodes) {
      const NodeProto& proto = nodes_.emplace_back(context_, encoded);
      for (const Text name : proto.inputs) {
        if (!name.empty()) check_made(name);
      }
      for (const Text name : proto.outputs) {
        if (!name.empty()) make(name);
      }
    }
    for (const Text encoded : graph.outputs) check_made(name_of(encoded));
    return inputs;
  }

  void read_input(Text encoded, std::vector<Text>& inputs) {
    const Value value = read_value(context_, encoded);
    Named& named = named_[value.name];
    if (named.is_input) throw Unsupported("onnx: two inputs of one name");
    named.is_input = true;
    if (named.is_made) return;
    if (!value.type) throw Unsupported("onnx: an input without a static shape");
    for (const std::int64_t extent : value.type->shape) {
      if (extent <= 0) throw Unsupported("onnx: an input of unknown extent");
    }
    make(value.name).type = value.type;
    inputs.push_back(value.name);
  }

  // Finds all types by simple rules. Gives up where one node has none, or where something is
  // declared to be otherwise.
  bool infer_simple(const GraphProto& graph) {
    std::vector<TypedOperand> operands;
    for (const NodeProto& proto : nodes_) {
      if (proto.outputs.size() != 1 || !is_default_domain(proto.domain)) return false;
      operands.clear();
      for (const Text name : proto.inputs) {
        if (name.empty()) return false;
        const Named& named = named_[name];
        if (!named.type) return false;
        operands.push_back({*named.type, named.node == nullptr ? nullptr : named.node->value});
      }
      named_[proto.outputs[0]].type =
          simple_type(context_, proto.op_type, operands, proto.attributes, opset_);
      if (!named_[proto.outputs[0]].type) return false;
    }
    for (const auto* values : {&graph.values, &graph.outputs, &graph.inputs}) {
      for (const Text encoded : *values) {
        if (!is_as_declared(read_value(context_, encoded))) return false;
      }
    }
    return true;
  }

  bool is_as_declared(const Value& value) const {
    const auto found = named_.find(value.name);
    if (found == named_.end() || !found->second.type) return false;
    const TensorType type = *found->second.type;
    if (value.has_shape) return value.type && *value.type == type;
    return value.data_type == 0 || dtype_of(value.data_type) == type.dtype;
  }

  // Asks ONNX for all types.
  void infer_all(Text model) {
    for (const NodeProto& proto : nodes_) {
      for (const Text name : proto.outputs) named_[name].type.reset();
    }
    const std::optional<std::string> changed = inferable(model);
    const GraphProto inferred(infer_model_(changed ? Text(*changed) : model));
    for (const auto* values : {&inferred.values, &inferred.outputs, &inferred.inputs}) {
      for (const Text encoded : *values) {
        const Value value = read_value(context_, encoded);
        if (value.type) named_[value.name].type = value.type;
      }
    }
  }

  void read_node(const NodeProto& proto) {
    std::vector<Node*> operands;
    for (const Text name : proto.inputs) {
      operands.push_back(name.empty() ? nullptr : node_of(name));
    }
    const Operands shared = context_.span(operands);
    const Text operator_name = proto.qualified_name(context_);
    infer_types(proto, shared);
    const Text source = context_.text(proto.source());
    const bool in_parts = proto.op_type == "Split";
    Node* first = nullptr;
    for (std::size_t i = 0; i < proto.outputs.size(); ++i) {
      if (proto.outputs[i].empty()) continue;
      Named& named = named_[proto.outputs[i]];
      if (!named.type) continue;  // nobody may want it, such as the mask of Dropout
      const auto position = static_cast<std::int64_t>(i);
      if (first == nullptr || in_parts) {
        first = convert(OnnxNode(context_, operator_name, source, shared, *named.type, position,
                                 proto.attributes, opset_));
      }
      // The first result may be left out, but it is what the node stands for.
      const bool is_further = position > 0 && !in_parts;
      named.node = is_further
                       ? further_result(operator_name, first, *named.type, position, source)
                       : first;
    }
  }

  // Finds types that the inference of the whole model has not found. What only training wants may
  // stay without one, as in Python; anything else is left to Python, which may refuse it.
  void infer_types(const NodeProto& proto, Operands operands) {
    const Named* first = nullptr;
    bool lacks_any = false;
    for (const Text name : proto.outputs) {
      if (name.empty()) continue;
      const Named& named = named_[name];
      if (first == nullptr) first = &named;
      lacks_any |= !named.type;
    }
    if (!lacks_any) return;
    if (!first->type) {
      for (const auto& [name, type] : infer_node_(context_, proto.encoded, operands)) {
        for (const Text output : proto.outputs) {
          if (output == name) named_[output].type = type;
        }
      }
    } else if (proto.op_type != "Dropout" && proto.op_type != "BatchNormalization") {
      throw Unsupported("onnx: a further result without a type");
    }
    if (!first->type) throw Unsupported("onnx: a result without a type");
  }

  // The node of a result after the first one, of which it is an item.
  Node* further_result(Text operator_name, Node* first, TensorType type, std::int64_t index,
                       Text source) {
    // The mask of Dropout keeps everything.
    if (first->is_constant() || operator_name == "Dropout") return context_.constant(type);
    return context_.make(op::item, type, context_.operands({first}),
                         context_.attrs({{attr::index, index}}), source);
  }

  // The entry of a value that is made now.
  Named& make(Text name) {
    Named& named = named_[name];
    if (name.empty() || named.is_made) throw Unsupported("onnx: a value made twice");
    named.is_made = true;
    return named;
  }

  void check_made(Text name) const {
    const auto found = named_.find(name);
    if (found == named_.end() || !found->second.is_made) {
      throw Unsupported("onnx: a value that no node before has made");
    }
  }

  Node* node_of(Text name) const {
    const auto found = named_.find(name);
    if (found == named_.end() || found->second.node == nullptr) {
      throw Unsupported("onnx: a value without a type");
    }
    return found->second.node;
  }

  Context& context_;
  const Check& check_;
  const InferModel& infer_model_;
  const InferNode& infer_node_;
  std::int64_t opset_ = 1;
  std::vector<NodeProto> nodes_;
  std::unordered_map<Text, Named> named_;  // values by name
};

}  // namespace

Network read(Context& context, Text model, const Check& check, const InferModel& infer_model,
             const InferNode& infer_node) {
  return Reader(context, check, infer_model, infer_node).read(model);
}

}  // namespace relay_frontend::onnx
