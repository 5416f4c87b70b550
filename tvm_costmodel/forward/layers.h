// The layers of a NAR-Former V2, their weights packed for the kernels.
//
// Shape suffixes: U and R rows before and after a block, C features that enter a layer, D width.

#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tvm_costmodel/forward/equal_nodes.h"
#include "tvm_costmodel/forward/kernels.h"
#include "tvm_costmodel/forward/matrix.h"

namespace tvm_costmodel::forward {

// config.NarFormerV2Config, as far as a forward pass without torch asks.
struct Config {
  std::size_t num_features;
  std::size_t num_static;  // 0 where they are not read
  std::size_t width;
  std::size_t num_blocks;
  std::string input_norm;
  bool embed;
  bool enhance;
  bool attention;
  std::vector<Relation> relations;
  std::string normalize;
  bool activation;
  std::size_t ffn_groups;  // 0 without a feed-forward network
  std::size_t ffn_hidden;  // values between the layers of a group
  bool group_norm;
  bool branch_scale;
  bool contributions;
  bool prior;
  bool exponential;  // whether the output is exp, or softplus
};

// The weight with a name, of which there must be so many values.
using Weights = std::function<const float*(const std::string& name, std::size_t size)>;

// x W^T + b of one matrix, or of several with the same input, whose outputs start at panels.
class Linear {
 public:
  Linear(const Kernels& kernels, std::size_t inputs) : kernels_(&kernels), inputs_(inputs) {}

  // Adds outputs; the weight is [outputs, inputs], a bias of null is 0.
  void add(const float* weight, const float* bias, std::size_t outputs);

  // Adds to the bias of the outputs that were added first.
  void add_to_first_bias(const float* bias, std::size_t outputs);

  // Of `x`, or of its columns from `column` on; into `y`.
  void operator()(const Matrix& x, const Matrix& y, bool relu = false,
                  std::size_t column = 0) const;

  std::size_t padded_outputs() const { return bias_.size(); }

 private:
  const Kernels* kernels_;
  std::size_t inputs_;
  std::vector<float> weight_;  // [panels, inputs, kPanel]
  std::vector<float> bias_;    // [panels, kPanel]
};

// None, or a norm of each row by itself.
class Norm {
 public:
  Norm(const Kernels& kernels, const Weights& weights, const std::string& name,
       const std::string& kind, std::size_t columns, std::size_t groups = 1);

  void operator()(float* row) const;

 private:
  enum class Kind { none, layer, l2, standardize };

  const Kernels* kernels_;
  Kind kind_;
  std::size_t columns_;
  std::size_t groups_;
  std::vector<float> scale_;  // weight or deviation
  std::vector<float> shift_;  // bias or mean
};

// GFFN(LN(H)) + H, equation 7.
class FeedForward {
 public:
  FeedForward(const Kernels& kernels, const Weights& weights, const std::string& name,
              const Config& config);

  void operator()(Matrix& h_RD) const;

 private:
  const Kernels* kernels_;
  std::size_t hidden_;
  Norm norm_;
  std::vector<Linear> up_;    // of each group
  std::vector<Linear> down_;  // of each group
  std::vector<float> branch_scale_;
};

// One graph-aided Transformer block, equations 5-11.
class Block {
 public:
  Block(const Kernels& kernels, const Weights& weights, const std::string& name,
        std::size_t features, const Config& config);

  // [R, D] of h_UC [U, C] and the degrees [U]; leaves h_UC as it likes.
  Matrix operator()(Matrix& h_UC, const std::vector<float>& degrees, const Layer& layer) const;

 private:
  void see(const Matrix& parts, const Neighbours& relation, std::size_t index,
           const Layer& layer, std::vector<float>& scores, const Matrix& z_RD) const;

  const Kernels* kernels_;
  std::size_t features_;
  std::size_t width_;
  std::size_t num_relations_;
  bool attention_;
  bool activation_;
  std::vector<float> gate_weight_;  // in whole panels; empty without a gate
  std::vector<float> gate_bias_;
  Linear parts_;  // of the root, of what each relation aggregates, of each relation's query
  Norm normalize_;
  std::optional<FeedForward> ffn_;
};

// Equation 12, up to what makes the number positive.
class Head {
 public:
  Head(const Kernels& kernels, const Weights& weights, std::size_t inputs, std::size_t width);

  std::vector<float> operator()(const Matrix& h) const;

 private:
  const Kernels* kernels_;
  std::size_t width_;
  Linear fc1_;
  Linear fc2_;
  std::vector<float> fc3_;
  float bias_;
};

// A linear layer by its name.
Linear linear_named(const Kernels& kernels, const Weights& weights, const std::string& name,
                    std::size_t inputs, std::size_t outputs);

}  // namespace tvm_costmodel::forward
