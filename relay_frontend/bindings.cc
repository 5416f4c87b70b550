// The extension module relay_frontend._native; native.py is the only Python module that imports it.

#include "relay_frontend/bindings.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <new>
#include <utility>

#include "relay_frontend/canonical/canonicalize.h"
#include "relay_frontend/canonical/patterns.h"
#include "relay_frontend/fusion.h"
#include "relay_frontend/graph.h"
#include "relay_frontend/tokens.h"
#include "relay_frontend/vocabulary.h"

namespace nb = nanobind;

namespace relay_frontend {

namespace {

// --- From C++ to Python ------------------------------------------------------------------------

nb::str to_python(Text text) { return nb::str(text.data(), text.size()); }

nb::tuple to_python(Ints ints) {
  PyObject* tuple = PyTuple_New(static_cast<Py_ssize_t>(ints.size()));
  if (tuple == nullptr) throw nb::python_error();
  for (std::size_t i = 0; i < ints.size(); ++i) {
    PyTuple_SET_ITEM(tuple, static_cast<Py_ssize_t>(i), PyLong_FromLongLong(ints[i]));
  }
  return nb::steal<nb::tuple>(tuple);
}

nb::object to_python(const AttrValue& value) {
  if (const bool* b = std::get_if<bool>(&value)) return nb::bool_(*b);
  if (const std::int64_t* i = std::get_if<std::int64_t>(&value)) return nb::int_(*i);
  if (const double* d = std::get_if<double>(&value)) return nb::float_(*d);
  if (const Text* text = std::get_if<Text>(&value)) return to_python(*text);
  return to_python(std::get<Ints>(value));
}

nb::tuple to_python(const TensorType& type) {
  return nb::make_tuple(to_python(type.shape), to_python(dtype_name(type.dtype)));
}

nb::tuple to_python(const Operator& op) {
  nb::list attrs;
  for (const AttrValue& value : op.attrs) attrs.append(to_python(value));
  return nb::make_tuple(op.spec->index, nb::tuple(attrs), to_python(op.inputs),
                        to_python(op.type), op.flops, op.param_bytes, op.read_bytes,
                        op.write_bytes, to_python(op.source));
}

template <class T, class To>
nb::tuple all_to_python(const std::vector<T>& values, To&& to) {
  nb::list list;
  for (const T& value : values) list.append(to(value));
  return nb::tuple(list);
}

template <class T, std::size_t Rank>
nb::object to_numpy(Array<T> array) {
  const std::size_t shape[2] = {array.rows, array.columns};
  T* data = array.data.release();
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, T>(data, Rank, shape + (2 - Rank), owner));
}

nb::tuple tokens(const Graph& graph, const TokenConfig& config) {
  Tokens result = [&] {
    const nb::gil_scoped_release threads;
    return tokenize(graph, config);
  }();
  return nb::make_tuple(to_numpy<float, 2>(std::move(result.node_features)),
                        to_numpy<std::int64_t, 2>(std::move(result.edge_index)),
                        to_numpy<float, 1>(std::move(result.static_features)));
}

nb::object kernels(const Graph& graph) {
  const std::vector<std::int64_t> found = [&] {
    const nb::gil_scoped_release threads;
    return fuse(graph);
  }();
  Array<std::int64_t> array;
  array.columns = found.size();
  array.data.reset(new std::int64_t[found.size()]);
  std::copy(found.begin(), found.end(), array.data.get());
  return to_numpy<std::int64_t, 1>(std::move(array));
}

// --- From Python to C++ ------------------------------------------------------------------------

using Strings = std::vector<std::string>;
using Pairs = std::vector<nb::tuple>;

void init_token_config(TokenConfig* config, std::size_t frequencies, std::size_t shape_dims,
                       std::size_t input_dims, std::vector<std::int64_t> divisors,
                       std::size_t vocabulary_size, const std::vector<std::size_t>& operators,
                       bool one_hot_type, bool node_position, bool costs, bool fused,
                       const Strings& values, const std::string& static_features) {
  // None are named where all of them count as themselves.
  std::vector<bool> named(vocabulary().operators.size(), operators.empty());
  for (std::size_t index : operators) named[index] = true;
  std::vector<Encoding> encodings;
  for (const std::string& name : values) encodings.push_back(encoding_named(name));
  new (config) TokenConfig{frequencies,
                           shape_dims,
                           input_dims,
                           std::move(divisors),
                           vocabulary_size,
                           std::move(named),
                           one_hot_type,
                           node_position,
                           costs,
                           fused,
                           std::move(encodings),
                           encoding_named(static_features)};
}

Text to_text(nb::handle value) { return nb::cast<Text>(value); }

Ints to_ints(Context& context, nb::handle value) {
  return context.span(nb::cast<std::vector<std::int64_t>>(value));
}

AttrValue to_attr(Context& context, nb::handle value) {
  if (nb::isinstance<nb::bool_>(value)) return nb::cast<bool>(value);
  if (nb::isinstance<nb::int_>(value)) return nb::cast<std::int64_t>(value);
  if (nb::isinstance<nb::float_>(value)) return nb::cast<double>(value);
  if (nb::isinstance<nb::str>(value)) return context.text(to_text(value));
  return to_ints(context, value);
}

const ConstantValue* to_constant(Context& context, Ints shape, nb::handle values, bool integral) {
  if (values.is_none()) return nullptr;
  if (integral) return context.integers(shape, to_ints(context, values));
  return context.reals(shape, context.span(nb::cast<std::vector<double>>(values)));
}

// One node of `build`: (op, shape, dtype, operands, attributes, source, values, integral).
Node* to_node(Context& context, const std::vector<Node*>& nodes, nb::tuple description) {
  const Ints shape = to_ints(context, description[1]);
  const TensorType type = context.type(shape, dtype_named(to_text(description[2])));
  std::vector<Node*> operands;
  for (std::size_t operand : nb::cast<std::vector<std::size_t>>(description[3])) {
    if (operand >= nodes.size()) throw Unsupported("an operand that is not there yet");
    operands.push_back(nodes[operand]);
  }
  std::vector<Attr> attrs;
  for (auto [name, value] : nb::cast<nb::dict>(description[4])) {
    attrs.emplace_back(context.name(to_text(name)), to_attr(context, value));
  }
  Node* node = context.make(context.name(to_text(description[0])), type, context.span(operands),
                            context.span(attrs), context.text(to_text(description[5])));
  node->value = to_constant(context, shape, description[6], nb::cast<bool>(description[7]));
  return node;
}

std::unique_ptr<Graph> build(const std::vector<nb::tuple>& descriptions,
                             const std::vector<std::size_t>& inputs,
                             const std::vector<std::size_t>& outputs) {
  auto context = std::make_unique<Context>();
  std::vector<Node*> nodes;
  for (const nb::tuple& description : descriptions) {
    nodes.push_back(to_node(*context, nodes, description));
  }
  Network network;
  for (std::size_t i : inputs) network.inputs.push_back(nodes.at(i));
  for (std::size_t i : outputs) network.outputs.push_back(nodes.at(i));
  return canonicalize(std::move(context), std::move(network));
}

// --- The vocabulary ----------------------------------------------------------------------------

void configure(const Pairs& operators, const Pairs& dtypes, const Pairs& categories,
               const Pairs& onnx, const Pairs& relay, const Pairs& relax, const Pairs& patterns,
               const Strings& commutative) {
  Vocabulary& tables = vocabulary();
  tables = {};
  for (const nb::tuple& row : operators) {
    add_operator(to_text(row[0]), nb::cast<Strings>(row[1]), nb::cast<Strings>(row[2]),
                 to_text(row[3]), to_text(row[4]), nb::cast<std::int64_t>(row[5]),
                 static_cast<Pattern>(nb::cast<int>(row[6])));
  }
  for (const nb::tuple& row : dtypes) {
    tables.dtypes.push_back({nb::cast<std::string>(row[0]), nb::cast<std::int64_t>(row[1])});
  }
  for (const nb::tuple& row : categories) {
    tables.categories.emplace(nb::cast<std::string>(row[0]), known(to_text(row[1])));
  }
  const std::pair<Source, const Pairs&> sources[] = {
      {Source::onnx, onnx}, {Source::relay, relay}, {Source::relax, relax}};
  for (const auto& [source, table] : sources) {
    for (const nb::tuple& row : table) {
      tables.plain[static_cast<std::size_t>(source)].emplace(nb::cast<std::string>(row[0]),
                                                             known(to_text(row[1])));
    }
  }
  reset_patterns(commutative);
  for (const nb::tuple& row : patterns) add_pattern(to_text(row[0]), to_text(row[1]));
  complete_known_names();
}

}  // namespace

NB_MODULE(_native, module) {
  nb::set_leak_warnings(false);  // the interpreter may end while graphs are alive
  nb::exception<Unsupported>(module, "Unsupported");

  nb::class_<Graph>(module, "Graph")
      .def("__len__", [](const Graph& graph) { return graph.operators().size(); })
      .def_prop_ro("batch_size", &Graph::batch_size)
      .def_prop_ro("flops", &Graph::flops)
      .def_prop_ro("param_bytes", &Graph::param_bytes)
      .def_prop_ro("memory_bytes", &Graph::memory_bytes)
      .def_prop_ro("digest",
                   [](const Graph& graph) {
                     const nb::gil_scoped_release threads;
                     return graph.digest();
                   })
      .def("ops",
           [](const Graph& graph) {
             nb::set names;
             const OperatorSpec* last = nullptr;
             for (const Operator& op : graph.operators()) {
               if (op.spec != last) names.add(nb::int_(op.spec->index));
               last = op.spec;
             }
             return names;
           })
      .def("inputs",
           [](const Graph& graph) {
             return all_to_python(graph.inputs(), [](const auto& t) { return to_python(t); });
           })
      .def("operators",
           [](const Graph& graph) {
             return all_to_python(graph.operators(), [](const auto& o) { return to_python(o); });
           })
      .def("outputs",
           [](const Graph& graph) {
             return to_python(Ints(graph.outputs().data(), graph.outputs().size()));
           })
      .def("unknown_ops",
           [](const Graph& graph) {
             return all_to_python(graph.unknown_ops(), [](Text t) { return to_python(t); });
           })
      .def("fuse", &kernels)
      .def("tokens", &tokens, nb::arg("config"));

  nb::class_<TokenConfig>(module, "TokenConfig")
      .def("__init__", &init_token_config, nb::kw_only(), nb::arg("frequencies"),
           nb::arg("shape_dims"), nb::arg("input_dims"), nb::arg("divisors"),
           nb::arg("vocabulary_size"), nb::arg("operators"), nb::arg("one_hot_type"),
           nb::arg("node_position"), nb::arg("costs"), nb::arg("fused"), nb::arg("values"),
           nb::arg("static"));

  module.def("configure", &configure, nb::arg("operators"), nb::arg("dtypes"),
             nb::arg("categories"), nb::arg("onnx"), nb::arg("relay"), nb::arg("relax"),
             nb::arg("patterns"), nb::arg("commutative"));
  module.def("build", &build, nb::arg("nodes"), nb::arg("inputs"), nb::arg("outputs"));
  bind_onnx(module);
  bind_relax(module);
  bind_relay(module);
}

}  // namespace relay_frontend
