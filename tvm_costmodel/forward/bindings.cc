// The extension module tvm_costmodel._forward; native.py is the only Python module that imports it.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tvm_costmodel/forward/model.h"
#include "tvm_costmodel/forward/processor.h"

namespace nb = nanobind;

namespace tvm_costmodel::forward {

namespace {

template <class T>
using Array = nb::ndarray<const T, nb::c_contig, nb::device::cpu>;

void check(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

// --- Models ------------------------------------------------------------------------------------

template <class T>
T get(const nb::object& config, const char* name) {
  return nb::cast<T>(config.attr(name));
}

Config to_config(const nb::object& config) {
  using Text = std::string;
  using Size = std::size_t;
  Config result{};
  result.num_features = get<Size>(config, "num_features");
  result.num_static = get<bool>(config, "reads_static") ? get<Size>(config, "num_static") : 0;
  result.width = get<Size>(config, "width");
  result.num_blocks = get<Size>(config, "num_blocks");
  result.input_norm = get<Text>(config, "input_norm");
  result.embed = get<bool>(config, "embed");
  result.enhance = get<bool>(config, "enhance");
  result.attention = get<Text>(config, "attention") == "graph";
  for (nb::handle name : config.attr("relations")) {
    result.relations.push_back(relation_named(nb::cast<Text>(name)));
  }
  result.normalize = get<Text>(config, "normalize");
  result.activation = get<bool>(config, "activation");
  if (get<Text>(config, "ffn") != "none") {
    result.ffn_groups = get<Size>(config, "groups");
    result.ffn_hidden = result.width / result.ffn_groups * get<Size>(config, "ffn_expansion");
  }
  result.group_norm = get<bool>(config, "group_norm");
  result.branch_scale = !config.attr("branch_scale").is_none();
  result.contributions = get<Text>(config, "readout") == "contributions";
  result.prior = get<Text>(config, "prior") == "costs";
  result.exponential = get<Text>(config, "output") == "exp";
  return result;
}

void init_model(Model* model, const nb::dict& weights, const nb::object& config,
                const std::string& instructions) {
  std::vector<Array<float>> arrays;  // alive until they are packed
  const Weights named = [&](const std::string& name, std::size_t size) {
    check(weights.contains(name.c_str()), ("no weight is called " + name).c_str());
    arrays.push_back(nb::cast<Array<float>>(weights[name.c_str()]));
    check(arrays.back().size() == size, ("not the size of weight " + name).c_str());
    return arrays.back().data();
  };
  for (const Kernels* kernels : supported_kernels()) {
    if (instructions == kernels->name) {
      new (model) Model(*kernels, to_config(config), named);
      return;
    }
  }
  throw std::invalid_argument("this processor has no " + instructions);
}

// --- Graphs ------------------------------------------------------------------------------------

// Graphs and the arrays that they lie in, checked: what is read of them is within them.
class Graphs {
 public:
  Graphs(const std::vector<nb::tuple>& graphs, const Config& config) {
    for (const nb::tuple& graph : graphs) add(graph, config);
  }

  const std::vector<Graph>& get() const { return graphs_; }

 private:
  void add(const nb::tuple& arrays, const Config& config) {
    Graph graph{};
    const auto& features = keep(floats_, arrays[0]);
    check(features.ndim() == 2 && features.shape(1) == config.num_features, "node_features");
    graph.features = features.data();
    graph.num_nodes = features.shape(0);
    const auto& edges = keep(integers_, arrays[1]);
    check(edges.ndim() == 2 && edges.shape(0) == 2, "edge_index");
    graph.edges = edges.data();
    graph.num_edges = edges.shape(1);
    const auto is_node = [&](std::int64_t i) {
      return i >= 0 && static_cast<std::size_t>(i) < graph.num_nodes;
    };
    check(std::all_of(edges.data(), edges.data() + edges.size(), is_node), "edge_index");
    const auto& static_features = keep(floats_, arrays[2]);
    check(static_features.size() >= config.num_static, "static_features");
    graph.static_features = static_features.data();
    const auto& asks = config.relations;
    if (std::find(asks.begin(), asks.end(), Relation::kernel) != asks.end()) {
      const auto& kernels = keep(integers_, arrays[3]);
      check(kernels.size() == graph.num_nodes, "kernels");
      graph.kernels = kernels.data();
    }
    graphs_.push_back(graph);
  }

  template <class T>
  static const Array<T>& keep(std::vector<Array<T>>& arrays, nb::handle array) {
    return arrays.emplace_back(nb::cast<Array<T>>(array));
  }

  std::vector<Array<float>> floats_;
  std::vector<Array<std::int64_t>> integers_;
  std::vector<Graph> graphs_;
};

nb::object to_numpy(const std::vector<float>& values) {
  auto data = std::make_unique<float[]>(values.size());
  std::copy(values.begin(), values.end(), data.get());
  nb::capsule owner(data.get(), [](void* p) noexcept { delete[] static_cast<float*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, float>(data.release(), {values.size()}, owner));
}

nb::object predict(const Model& model, const std::vector<nb::tuple>& graphs) {
  const Graphs checked(graphs, model.config());
  return to_numpy([&] {
    const nb::gil_scoped_release threads;
    return model.predict(checked.get());
  }());
}

nb::object contributions(const Model& model, const nb::tuple& graph) {
  const Graphs checked({graph}, model.config());
  return to_numpy([&] {
    const nb::gil_scoped_release threads;
    return model.contributions(checked.get());
  }());
}

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const Kernels* kernels : supported_kernels()) names.emplace_back(kernels->name);
  return names;
}

}  // namespace

NB_MODULE(_forward, module) {
  nb::class_<Model>(module, "Model")
      .def("__init__", &init_model, nb::arg("weights"), nb::arg("config"), nb::arg("instructions"))
      .def("predict", &predict, nb::arg("graphs"))
      .def("contributions", &contributions, nb::arg("graph"));
  module.def("instruction_sets", &instruction_sets);
}

}  // namespace tvm_costmodel::forward
