// The inner loops, compiled once for each instruction set.
//
// Rows lie in memory that is padded to whole panels; what is beyond their columns is zero, and the
// loops over panels keep it so where they say nothing else.

#pragma once

#include <cstddef>
#include <cstdint>

namespace tvm_costmodel::forward {

constexpr std::size_t kPanel = 16;  // floats of a cache line, or of the widest register

// y = x W + b of `rows` rows, in whole panels of outputs.
struct Product {
  const float* x;
  std::size_t x_stride;
  std::size_t rows;
  std::size_t inputs;
  const float* weight;  // [panels, inputs, kPanel]
  const float* bias;    // [panels, kPanel]
  std::size_t panels;
  float* y;
  std::size_t y_stride;
  bool relu;
};

// What one row sees over one relation.
struct Attention {
  const float* query;   // of the row itself; null where all that it sees counts alike
  const float* keys;    // of all rows
  const float* values;  // of all rows, in whole panels
  std::size_t stride;   // of keys and values
  std::size_t columns;  // of query and keys
  const std::uint32_t* sources;  // the rows that are seen, at least one
  std::size_t count;
  float* scores;  // scratch of `count`
};

struct Kernels {
  const char* name;

  void (*multiply)(const Product& product);

  // x = sigmoid(x) of whole panels, padding included.
  void (*sigmoid)(float* x, std::size_t panels);

  // x *= sigmoid(weight degree + bias) of whole panels.
  void (*gate)(float* x, const float* weight, const float* bias, float degree,
               std::size_t panels);

  // z += the mean of the values that are seen, by their scores, in whole panels.
  void (*attend)(const Attention& attention, float* z, std::size_t panels);

  // x = (x - mean) / deviation.
  void (*standardize)(float* x, const float* mean, const float* deviation, std::size_t columns);

  // LayerNorm of each of the equal groups of columns, then its weight and bias over all of them.
  void (*layer_norm)(float* x, const float* weight, const float* bias, std::size_t columns,
                     std::size_t groups);

  void (*l2_norm)(float* x, std::size_t columns);

  void (*relu)(float* x, std::size_t columns);

  // y += scale x; a scale of null is 1.
  void (*add)(float* y, const float* x, const float* scale, std::size_t columns);

  float (*dot)(const float* x, const float* y, std::size_t columns);
};

}  // namespace tvm_costmodel::forward
