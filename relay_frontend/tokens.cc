#include "relay_frontend/tokens.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "relay_frontend/costs.h"
#include "relay_frontend/fusion.h"
#include "relay_frontend/names.h"
#include "relay_frontend/tiling.h"

namespace relay_frontend {

namespace {

constexpr std::size_t kNumAttributeSlots = 8;
constexpr std::size_t kNumCosts = 8;
constexpr double kGiga = 1e9;

// f_PE of values, remembered for those that come again (most do: extents, strides, zeros).
// Sines, cosines and powers are libm's, as in Python, so that both give the same bits.
class PositionEncoding {
 public:
  explicit PositionEncoding(std::size_t frequencies)
      : frequencies_(frequencies),
        keys_(kEntries, std::nan("")),
        rows_(kEntries * 2 * frequencies) {
    for (std::size_t j = 0; j < frequencies; ++j) {
      scales_.push_back(
          std::pow(10000.0, static_cast<double>(j) / static_cast<double>(frequencies)));
    }
  }

  // Writes the sines, then the cosines, and returns the end of what it has written.
  float* write(double value, float* out) {
    value += 0.0;  // no negative zero
    std::uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const std::size_t entry = bits * 0x9e3779b97f4a7c15U >> (64 - kEntryBits);
    if (keys_[entry] != value) encode(value, entry);
    return std::copy_n(rows_.data() + entry * 2 * frequencies_, 2 * frequencies_, out);
  }

 private:
  static constexpr std::size_t kEntryBits = 10;
  static constexpr std::size_t kEntries = std::size_t{1} << kEntryBits;

  void encode(double value, std::size_t entry) {
    keys_[entry] = value;
    float* row = rows_.data() + entry * 2 * frequencies_;
    for (std::size_t j = 0; j < frequencies_; ++j) {
      const double angle = value / scales_[j];
      row[j] = static_cast<float>(std::sin(angle));
      row[frequencies_ + j] = static_cast<float>(std::cos(angle));
    }
  }

  std::size_t frequencies_;
  std::vector<double> scales_;
  std::vector<double> keys_;  // not a number, which equals nothing, where an entry is empty
  std::vector<float> rows_;
};

double as_real(const AttrValue& value, std::size_t position) {
  if (const bool* b = std::get_if<bool>(&value)) return *b ? 1.0 : 0.0;
  if (const std::int64_t* i = std::get_if<std::int64_t>(&value)) return static_cast<double>(*i);
  if (const Ints* ints = std::get_if<Ints>(&value)) {
    return position < ints->size() ? static_cast<double>((*ints)[position]) : 0.0;
  }
  const double* real = std::get_if<double>(&value);
  return real != nullptr && std::isfinite(*real) ? *real : 0.0;
}

double slot_value(const Operator& op, const Slot& slot) {
  for (std::size_t i = 0; i < op.attrs.size(); ++i) {
    if (op.spec->attrs[i] == slot.attr) return as_real(op.attrs[i], slot.position);
  }
  return 0.0;
}

// Whether an operator counts as itself, and not as its category.
bool is_named(const OperatorSpec& spec, const TokenConfig& config) {
  return spec.index < config.vocabulary_size && config.named[spec.index];
}

// The number itself, as far as float32 reaches.
float real(double value) {
  constexpr double kLargest = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(value + 0.0, -kLargest, kLargest));
}

// sign(x) log(1 + |x|), by libm as in Python.
float logarithm(double value) {
  value += 0.0;  // no negative zero
  return static_cast<float>(std::copysign(std::log1p(std::abs(value)), value));
}

float* write(const std::vector<double>& values, Encoding encoding, PositionEncoding& positions,
             float* out) {
  switch (encoding) {
    case Encoding::position:
      for (double value : values) out = positions.write(value, out);
      return out;
    case Encoding::real:
      return std::transform(values.begin(), values.end(), out, real);
    case Encoding::logarithm:
      return std::transform(values.begin(), values.end(), out, logarithm);
  }
  return out;
}

float* write_type(const OperatorSpec& spec, const TokenConfig& config, PositionEncoding& positions,
                  float* out) {
  const std::size_t index = is_named(spec, config) ? spec.index : spec_of(spec.category)->index;
  if (!config.one_hot_type) return positions.write(static_cast<double>(index), out);
  std::fill_n(out, config.vocabulary_size, 0.0F);
  out[index] = 1.0F;
  return out + config.vocabulary_size;
}

void append_extents(Ints shape, std::size_t count, std::vector<double>& values) {
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back(i < shape.size() ? static_cast<double>(shape[i]) : 0.0);
  }
}

const TensorType& operand_type(const Graph& graph, std::int64_t operand) {
  return operand >= 0 ? graph.operators()[static_cast<std::size_t>(operand)].type
                      : graph.inputs()[static_cast<std::size_t>(-1 - operand)];
}

// Shape of the first data operand; that of a scalar where only constants are read.
Ints first_input_shape(const Graph& graph, const Operator& op) {
  return op.inputs.empty() ? Ints() : operand_type(graph, op.inputs.front()).shape;
}

// Attribute slots, output extents, input extents, divisors of all extents for each bound.
void read_values(const Graph& graph, const Operator& op, const TokenConfig& config,
                 std::vector<double>& values) {
  const std::size_t num_slots = is_named(*op.spec, config) ? op.spec->slots.size() : 0;
  values.clear();
  for (std::size_t i = 0; i < kNumAttributeSlots; ++i) {
    values.push_back(i < num_slots ? slot_value(op, op.spec->slots[i]) : 0.0);
  }
  append_extents(op.type.shape, config.shape_dims, values);
  if (config.input_dims > 0) {
    append_extents(first_input_shape(graph, op), config.input_dims, values);
  }
  const std::size_t end = values.size();
  for (std::int64_t bound : config.divisors) {
    for (std::size_t i = kNumAttributeSlots; i < end; ++i) {
      const auto extent = static_cast<std::int64_t>(values[i]);
      values.push_back(static_cast<double>(largest_divisor(extent, bound)));
    }
  }
}

// Bytes that an operator reads and writes.
struct Traffic {
  std::int64_t read = 0;
  std::int64_t written = 0;
};

std::vector<Traffic> traffic_alone(const Graph& graph) {
  std::vector<Traffic> traffic;
  for (const Operator& op : graph.operators()) traffic.push_back({op.read_bytes, op.write_bytes});
  return traffic;
}

// Twin of tokens._between_kernels. A kernel of reshapes alone moves nothing.
std::vector<Traffic> traffic_between_kernels(const Graph& graph) {
  const std::vector<Operator>& operators = graph.operators();
  const std::vector<std::int64_t> kernels = fuse(graph);
  const auto at = [](std::int64_t position) { return static_cast<std::size_t>(position); };
  const auto is_inside = [&](std::int64_t operand, std::size_t consumer) {
    return operand >= 0 && kernels[at(operand)] == kernels[consumer];
  };
  std::vector<bool> moving(operators.size());   // by kernel
  std::vector<bool> leaving(operators.size());  // by operator
  for (std::int64_t output : graph.outputs()) {
    if (output >= 0) leaving[at(output)] = true;
  }
  for (std::size_t i = 0; i < operators.size(); ++i) {
    if (operators[i].spec->name != op::reshape) moving[at(kernels[i])] = true;
    for (std::int64_t operand : operators[i].inputs) {
      if (operand >= 0 && !is_inside(operand, i)) leaving[at(operand)] = true;
    }
  }
  std::vector<Traffic> traffic(operators.size());
  for (std::size_t i = 0; i < operators.size(); ++i) {
    if (!moving[at(kernels[i])]) continue;
    if (leaving[i]) traffic[i].written = operators[i].write_bytes;
    for (std::int64_t operand : operators[i].inputs) {
      if (!is_inside(operand, i)) traffic[i].read += operand_type(graph, operand).num_bytes();
    }
  }
  return traffic;
}

std::vector<Traffic> read_traffic(const Graph& graph, const TokenConfig& config) {
  if (!config.costs) return {};
  return config.fused ? traffic_between_kernels(graph) : traffic_alone(graph);
}

// Twin of costs.transcendentals.
std::int64_t transcendentals(const Operator& op) {
  const Ints shape = op.type.shape;
  if (op.spec->name == op::attention && !shape.empty()) {
    return op.flops / (4 * shape.back() + 1 + kSoftmaxFlops);
  }
  return checked_mul(op.spec->transcendentals, op.type.num_elements());
}

std::int64_t bound(const TokenConfig& config, std::size_t index) {
  return index < config.divisors.size() ? config.divisors[index] : 1;
}

float* write_costs(const Operator& op, Traffic traffic, const TokenConfig& config, float* out) {
  const double flops = static_cast<double>(op.flops);
  const Tile tiled = tile(op, bound(config, 0), bound(config, 1));
  const double operations = flops / static_cast<double>(tiled.lanes);
  const double waiting = config.divisors.size() > 1 ? stalls(operations, tiled.rows) : 0.0;
  const double moved = static_cast<double>(op.param_bytes + traffic.read + traffic.written);
  const double costs[kNumCosts] = {flops,
                                   static_cast<double>(transcendentals(op)),
                                   operations,
                                   waiting,
                                   static_cast<double>(op.param_bytes),
                                   static_cast<double>(traffic.read),
                                   static_cast<double>(traffic.written),
                                   moved > 0 ? flops / moved : 0.0};
  return std::transform(costs, costs + kNumCosts, out, logarithm);
}

Array<float> node_features(const Graph& graph, const TokenConfig& config,
                           PositionEncoding& positions) {
  Array<float> result;
  result.rows = graph.operators().size();
  result.columns = config.num_features();
  result.data.reset(new float[result.rows * result.columns]);
  float* out = result.data.get();
  const std::vector<Traffic> traffic = read_traffic(graph, config);
  std::vector<double> values;
  for (std::size_t row = 0; row < result.rows; ++row) {
    const Operator& op = graph.operators()[row];
    out = write_type(*op.spec, config, positions, out);
    read_values(graph, op, config, values);
    for (Encoding encoding : config.values) out = write(values, encoding, positions, out);
    if (config.node_position) out = positions.write(static_cast<double>(row), out);
    if (config.costs) out = write_costs(op, traffic[row], config, out);
  }
  return result;
}

Array<float> static_features(const Graph& graph, const TokenConfig& config,
                             PositionEncoding& positions) {
  const double unit = config.static_features == Encoding::position ? kGiga : 1.0;
  const double parameters = static_cast<double>(graph.param_bytes()) / 4;
  const std::vector<double> values = {
      static_cast<double>(graph.batch_size()), static_cast<double>(graph.flops()) / unit,
      parameters / unit, static_cast<double>(graph.memory_bytes()) / unit};
  Array<float> result;
  result.rows = 1;
  result.columns = values.size() * config.width(config.static_features);
  result.data.reset(new float[result.columns]);
  write(values, config.static_features, positions, result.data.get());
  return result;
}

}  // namespace

Encoding encoding_named(Text name) {
  if (name == "position") return Encoding::position;
  if (name == "real") return Encoding::real;
  if (name == "logarithm") return Encoding::logarithm;
  throw Unsupported("encoding " + std::string(name));
}

std::size_t TokenConfig::num_values() const {
  return kNumAttributeSlots + (shape_dims + input_dims) * (1 + divisors.size());
}

std::size_t TokenConfig::num_features() const {
  const std::size_t encoded = width(Encoding::position);
  std::size_t result = one_hot_type ? vocabulary_size : encoded;
  for (Encoding encoding : values) result += num_values() * width(encoding);
  return result + (node_position ? encoded : 0) + (costs ? kNumCosts : 0);
}

Array<std::int64_t> undirected_edges(const Graph& graph) {
  const std::vector<Operator>& operators = graph.operators();
  // Counting sort by destination: first[v] is where the neighbours of v start.
  std::vector<std::size_t> first(operators.size() + 1);
  for (std::size_t consumer = 0; consumer < operators.size(); ++consumer) {
    for (std::int64_t producer : operators[consumer].inputs) {
      if (producer < 0) continue;
      ++first[consumer + 1];
      ++first[static_cast<std::size_t>(producer) + 1];
    }
  }
  for (std::size_t v = 0; v < operators.size(); ++v) first[v + 1] += first[v];
  std::vector<std::int64_t> neighbours(first.back());
  std::vector<std::size_t> next(first.begin(), first.end() - 1);
  for (std::size_t consumer = 0; consumer < operators.size(); ++consumer) {
    for (std::int64_t producer : operators[consumer].inputs) {
      if (producer < 0) continue;
      neighbours[next[consumer]++] = producer;
      neighbours[next[static_cast<std::size_t>(producer)]++] = static_cast<std::int64_t>(consumer);
    }
  }
  std::size_t num_edges = 0;
  for (std::size_t v = 0; v < operators.size(); ++v) {
    auto begin = neighbours.begin() + static_cast<std::ptrdiff_t>(first[v]);
    auto end = neighbours.begin() + static_cast<std::ptrdiff_t>(first[v + 1]);
    std::sort(begin, end);
    next[v] = static_cast<std::size_t>(std::unique(begin, end) - begin);
    num_edges += next[v];
  }
  Array<std::int64_t> result;
  result.rows = 2;
  result.columns = num_edges;
  result.data.reset(new std::int64_t[2 * num_edges]);
  std::int64_t* source = result.data.get();
  std::int64_t* destination = source + num_edges;
  for (std::size_t v = 0; v < operators.size(); ++v) {
    source = std::copy_n(neighbours.data() + first[v], next[v], source);
    destination = std::fill_n(destination, next[v], static_cast<std::int64_t>(v));
  }
  return result;
}

Tokens tokenize(const Graph& graph, const TokenConfig& config) {
  PositionEncoding positions(config.frequencies);
  return {node_features(graph, config, positions), undirected_edges(graph),
          static_features(graph, config, positions)};
}

}  // namespace relay_frontend
