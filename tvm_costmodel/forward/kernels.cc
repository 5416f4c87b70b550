// Compiled once for each instruction set, whose name is KERNELS.
//
// Nothing here may come from a header that defines inline functions: the linker keeps one copy of
// each for the whole program, and must not find one for another processor among them.

#include "tvm_costmodel/forward/kernels.h"

#define KERNELS_NAME_OF(set) #set
#define KERNELS_NAME(set) KERNELS_NAME_OF(set)

namespace tvm_costmodel::forward {

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kRegisters = 32;
#elif defined(__AVX2__)
constexpr int kLanes = 8, kRegisters = 16;
#elif defined(__aarch64__)
constexpr int kLanes = 4, kRegisters = 32;
#else
constexpr int kLanes = 4, kRegisters = 16;
#endif

using Vector = float __attribute__((vector_size(kLanes * sizeof(float))));
using Bits = std::int32_t __attribute__((vector_size(kLanes * sizeof(float))));

constexpr int kVectors = kPanel / kLanes;                            // of a panel
constexpr int kMaxRows = (kRegisters - kVectors - 1) / kVectors;     // whose sums fit beside it
constexpr float kNormEpsilon = 1e-5f;                                // torch.nn.LayerNorm's
constexpr float kL2NormEpsilon = 1e-12f;                             // functional.normalize's

Vector load(const float* from) {
  Vector v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}

void store(float* to, Vector v) { __builtin_memcpy(to, &v, sizeof v); }

Vector all(float value) { return value - Vector{}; }

float total(Vector v) {
  float sum = 0;
  for (int lane = 0; lane < kLanes; ++lane) sum += v[lane];
  return sum;
}

Vector positive(Vector v) { return v < 0.0f ? Vector{} : v; }  // what is not a number stays

// --- Products ----------------------------------------------------------------------------------

template <int kRows>
void multiply_rows(const Product& p, std::size_t row, std::size_t panel) {
  const float* x = p.x + row * p.x_stride;
  const float* weight = p.weight + panel * p.inputs * kPanel;
  Vector sums[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sums[r][v] = load(p.bias + panel * kPanel + v * kLanes);
  }
  for (std::size_t i = 0; i < p.inputs; ++i, weight += kPanel) {
    Vector w[kVectors];
    for (int v = 0; v < kVectors; ++v) w[v] = load(weight + v * kLanes);
#pragma GCC unroll 32
    for (int r = 0; r < kRows; ++r) {
      const Vector factor = all(x[static_cast<std::size_t>(r) * p.x_stride + i]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] += factor * w[v];
    }
  }
  for (int r = 0; r < kRows; ++r) {
    float* y = p.y + (row + static_cast<std::size_t>(r)) * p.y_stride + panel * kPanel;
    for (int v = 0; v < kVectors; ++v) {
      store(y + v * kLanes, p.relu ? positive(sums[r][v]) : sums[r][v]);
    }
  }
}

// multiply_rows<count>.
template <int kRows>
void multiply_some(const Product& p, std::size_t row, std::size_t panel, std::size_t count) {
  if constexpr (kRows > 1) {
    if (count < kRows) return multiply_some<kRows - 1>(p, row, panel, count);
  }
  multiply_rows<kRows>(p, row, panel);
}

void multiply(const Product& p) {
  for (std::size_t panel = 0; panel < p.panels; ++panel) {
    for (std::size_t row = 0; row < p.rows;) {
      // Blocks of equal size: a last one of few rows would wait for its own sums.
      const std::size_t left = p.rows - row, blocks = (left + kMaxRows - 1) / kMaxRows;
      const std::size_t count = (left + blocks - 1) / blocks;
      multiply_some<kMaxRows>(p, row, panel, count);
      row += count;
    }
  }
}

float dot(const float* x, const float* y, std::size_t columns) {
  Vector sums{};
  std::size_t i = 0;
  for (; i + kLanes <= columns; i += kLanes) sums += load(x + i) * load(y + i);
  float sum = total(sums);
  for (; i < columns; ++i) sum += x[i] * y[i];
  return sum;
}

// --- The logistic function ---------------------------------------------------------------------

// exp(x) within 2 units in the last place; of at most 88, and of -87 where x is less. The powers
// of two are taken out of x, what is left goes through the polynomial of Cephes' expf.
Vector exponential(Vector x) {
  x = x > 88.0f ? all(88.0f) : x;
  x = x < -87.0f ? all(-87.0f) : x;
  const Vector rounder = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Vector shifted = x * 1.44269504f + rounder;
  const Vector power = shifted - rounder;
  const Vector r = (x - power * 0.693359375f) + power * 2.12194440e-4f;
  Vector y = all(1.9875691500e-4f);
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * (r * r) + r + 1.0f;
  // The last bits of `shifted` are the power; the others leave at the left.
  return y * reinterpret_cast<Vector>((reinterpret_cast<Bits>(shifted) + 127) << 23);
}

Vector logistic(Vector x) { return 1.0f / (1.0f + exponential(-x)); }

void sigmoid(float* x, std::size_t panels) {
  for (std::size_t i = 0; i < panels * kPanel; i += kLanes) store(x + i, logistic(load(x + i)));
}

void gate(float* x, const float* weight, const float* bias, float degree, std::size_t panels) {
  for (std::size_t i = 0; i < panels * kPanel; i += kLanes) {
    store(x + i, load(x + i) * logistic(load(weight + i) * degree + load(bias + i)));
  }
}

// --- What rows see -----------------------------------------------------------------------------

void attend(const Attention& a, float* z, std::size_t panels) {
  float sum = 0;
  for (std::size_t i = 0; i < a.count; ++i) {
    const float* key = a.keys + a.sources[i] * a.stride;
    a.scores[i] = a.query == nullptr ? 1.0f : dot(a.query, key, a.columns);
    sum += a.scores[i];
  }
  for (std::size_t i = 0; i < a.count; ++i) a.scores[i] /= sum;
  for (std::size_t column = 0; column < panels * kPanel; column += kLanes) {
    Vector mean{};
    for (std::size_t i = 0; i < a.count; ++i) {
      mean += a.scores[i] * load(a.values + a.sources[i] * a.stride + column);
    }
    store(z + column, load(z + column) + mean);
  }
}

// --- Norms -------------------------------------------------------------------------------------

void standardize(float* x, const float* mean, const float* deviation, std::size_t columns) {
  for (std::size_t i = 0; i < columns; ++i) x[i] = (x[i] - mean[i]) / deviation[i];
}

float sum_of(const float* x, std::size_t columns) {
  Vector sums{};
  std::size_t i = 0;
  for (; i + kLanes <= columns; i += kLanes) sums += load(x + i);
  float sum = total(sums);
  for (; i < columns; ++i) sum += x[i];
  return sum;
}

void layer_norm(float* x, const float* weight, const float* bias, std::size_t columns,
                std::size_t groups) {
  const std::size_t size = columns / groups;
  const float count = static_cast<float>(size);
  for (std::size_t start = 0; start < columns; start += size) {
    float* part = x + start;
    const float mean = sum_of(part, size) / count;
    for (std::size_t i = 0; i < size; ++i) part[i] -= mean;
    const float variance = dot(part, part, size) / count;
    const float scale = 1.0f / __builtin_sqrtf(variance + kNormEpsilon);
    for (std::size_t i = 0; i < size; ++i) {
      part[i] = part[i] * scale * weight[start + i] + bias[start + i];
    }
  }
}

void l2_norm(float* x, std::size_t columns) {
  const float length = __builtin_sqrtf(dot(x, x, columns));
  const float least = length < kL2NormEpsilon ? kL2NormEpsilon : length;
  for (std::size_t i = 0; i < columns; ++i) x[i] /= least;
}

// --- Columns by themselves ---------------------------------------------------------------------

void relu(float* x, std::size_t columns) {
  for (std::size_t i = 0; i < columns; ++i) x[i] = x[i] < 0.0f ? 0.0f : x[i];
}

void add(float* y, const float* x, const float* scale, std::size_t columns) {
  if (scale == nullptr) {
    for (std::size_t i = 0; i < columns; ++i) y[i] += x[i];
  } else {
    for (std::size_t i = 0; i < columns; ++i) y[i] += scale[i] * x[i];
  }
}

}  // namespace

extern const Kernels KERNELS;
const Kernels KERNELS = {KERNELS_NAME(KERNELS), multiply,   sigmoid, gate, attend, standardize,
                         layer_norm,            l2_norm,    relu,    add,  dot};

}  // namespace tvm_costmodel::forward
