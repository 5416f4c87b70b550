// NAR-Former V2 for latency, forward pass only; twin of runtime.py.

#pragma once

#include <optional>
#include <vector>

#include "tvm_costmodel/forward/equal_nodes.h"
#include "tvm_costmodel/forward/layers.h"

namespace tvm_costmodel::forward {

// Immutable, so threads may share it.
class Model {
 public:
  // std::invalid_argument where a weight is missing or of another size.
  Model(const Kernels& kernels, const Config& config, const Weights& weights);

  const Config& config() const { return config_; }

  // Latencies in ms of the graphs.
  std::vector<float> predict(const std::vector<Graph>& graphs) const;

  // What each node adds to the latency of its graph in ms; the readout must be contributions.
  std::vector<float> contributions(const std::vector<Graph>& graphs) const;

 private:
  // States of rows after the last block.
  Matrix states(const Plan& plan) const;
  std::vector<float> predict_together(const std::vector<Graph>& graphs) const;
  std::vector<float> pooled(const std::vector<Graph>& graphs) const;
  std::vector<float> answers(const Matrix& h) const;
  float prior(const float* features) const;

  const Kernels* kernels_;
  Config config_;
  Norm input_norm_;
  std::optional<Linear> embed_;
  std::vector<Block> blocks_;
  Head head_;
  std::optional<Norm> static_norm_;
  std::optional<Linear> static_;
  std::vector<float> rates_;
  float scale_;
};

}  // namespace tvm_costmodel::forward
