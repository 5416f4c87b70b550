// Matrices whose rows are padded to whole panels.

#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>

#include "tvm_costmodel/forward/kernels.h"

namespace tvm_costmodel::forward {

inline std::size_t panels_of(std::size_t columns) { return (columns + kPanel - 1) / kPanel; }

// Floats that begin with a cache line; what they hold is for their owner to say.
class Floats {
 public:
  Floats() = default;
  explicit Floats(std::size_t count)
      : data_(static_cast<float*>(::operator new(count * sizeof(float), kAlignment))) {}

  float* get() const { return data_.get(); }

 private:
  static constexpr std::align_val_t kAlignment{kPanel * sizeof(float)};

  struct Delete {
    void operator()(float* data) const { ::operator delete(data, kAlignment); }
  };

  std::unique_ptr<float, Delete> data_;
};

class Matrix {
 public:
  // Its values are not set.
  Matrix(std::size_t rows, std::size_t columns)
      : rows_(rows), columns_(columns), data_(rows * panels() * kPanel) {}

  std::size_t rows() const { return rows_; }
  std::size_t columns() const { return columns_; }
  std::size_t panels() const { return panels_of(columns_); }
  std::size_t stride() const { return panels() * kPanel; }
  float* row(std::size_t i) const { return data_.get() + i * stride(); }

  // Makes row i a copy of the `columns()` values at `values`, with zeros behind them.
  void set_row(std::size_t i, const float* values) const {
    std::fill(std::copy(values, values + columns_, row(i)), row(i) + stride(), 0.0f);
  }

 private:
  std::size_t rows_;
  std::size_t columns_;
  Floats data_;
};

}  // namespace tvm_costmodel::forward
