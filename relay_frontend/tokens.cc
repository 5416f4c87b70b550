#include "relay_frontend/tokens.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace relay_frontend {

namespace {

constexpr std::size_t kNumAttributeSlots = 8;
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

std::size_t one_hot_index(const OperatorSpec& spec, std::size_t vocabulary_size) {
  return spec.index < vocabulary_size ? spec.index : spec_of(spec.category)->index;
}

Array<float> node_features(const Graph& graph, const TokenConfig& config,
                           PositionEncoding& encoding) {
  const std::size_t encoded =
      kNumAttributeSlots + config.shape_dims + (config.node_position ? 1 : 0);
  Array<float> result;
  result.rows = graph.operators().size();
  result.columns = config.vocabulary_size + encoded * 2 * config.frequencies;
  result.data.reset(new float[result.rows * result.columns]);
  float* out = result.data.get();
  for (std::size_t row = 0; row < result.rows; ++row) {
    const Operator& op = graph.operators()[row];
    const bool has_slots = op.spec->index < config.vocabulary_size;
    const std::size_t num_slots = has_slots ? op.spec->slots.size() : 0;
    std::fill_n(out, config.vocabulary_size, 0.0F);
    out[one_hot_index(*op.spec, config.vocabulary_size)] = 1.0F;
    out += config.vocabulary_size;
    for (std::size_t i = 0; i < kNumAttributeSlots; ++i) {
      out = encoding.write(i < num_slots ? slot_value(op, op.spec->slots[i]) : 0.0, out);
    }
    for (std::size_t i = 0; i < config.shape_dims; ++i) {
      out = encoding.write(i < op.type.rank() ? static_cast<double>(op.type.shape[i]) : 0.0, out);
    }
    if (config.node_position) out = encoding.write(static_cast<double>(row), out);
  }
  return result;
}

Array<float> static_features(const Graph& graph, const TokenConfig& config,
                             PositionEncoding& encoding) {
  Array<float> result;
  result.rows = 1;
  result.columns = 4 * 2 * config.frequencies;
  result.data.reset(new float[result.columns]);
  const double parameters = static_cast<double>(graph.param_bytes()) / 4;
  float* out = result.data.get();
  out = encoding.write(static_cast<double>(graph.batch_size()), out);
  out = encoding.write(static_cast<double>(graph.flops()) / kGiga, out);
  out = encoding.write(parameters / kGiga, out);
  encoding.write(static_cast<double>(graph.memory_bytes()) / kGiga, out);
  return result;
}

}  // namespace

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
  PositionEncoding encoding(config.frequencies);
  return {node_features(graph, config, encoding), undirected_edges(graph),
          static_features(graph, config, encoding)};
}

}  // namespace relay_frontend
