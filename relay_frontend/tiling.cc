#include "relay_frontend/tiling.h"

#include <algorithm>
#include <numeric>

#include "relay_frontend/names.h"

namespace relay_frontend {

namespace {

constexpr std::int64_t kProductRows = 8;
constexpr std::int64_t kInFlight = 4;
constexpr std::int64_t kInMemory = 2;

std::int64_t divisor(std::int64_t extent, std::int64_t bound) {
  return std::max<std::int64_t>(1, largest_divisor(extent, bound));
}

Tile tile_of_product(Ints shape, std::int64_t lanes, std::int64_t rows) {
  const std::int64_t columns = shape.empty() ? 0 : shape.back();
  const std::int64_t packed = largest_divisor(columns, 2 * lanes);
  if (packed % lanes != 0) return {1, rows};
  std::int64_t length = 1;  // modulo the bound, so that nothing overflows
  for (std::size_t i = 0; i + 1 < shape.size(); ++i) length = length * shape[i] % kProductRows;
  const std::int64_t vectors = std::max<std::int64_t>(1, packed / lanes);
  return {lanes, std::min(std::gcd(length, kProductRows) * vectors, rows)};
}

// The attribute, or null.
const AttrValue* find(const Operator& op, Name name) {
  for (std::size_t i = 0; i < op.attrs.size(); ++i) {
    if (op.spec->attrs[i] == name) return &op.attrs[i];
  }
  return nullptr;
}

std::int64_t channels_of(const Operator& op) {
  return op.spec->channels_last ? op.type.shape.back() : op.type.shape[1];
}

// The groups of a convolution that is neither whole nor depthwise; 1 of anything else.
std::int64_t groups_of(const Operator& op) {
  const AttrValue* attribute = find(op, attr::groups);
  const std::int64_t* groups = attribute ? std::get_if<std::int64_t>(attribute) : nullptr;
  const bool grouped = groups != nullptr && 1 < *groups && *groups < channels_of(op);
  return grouped ? *groups : 1;
}

Tile tile_of_image(const Operator& op, std::int64_t lanes, std::int64_t rows) {
  const Ints shape = op.type.shape;
  const bool last = op.spec->channels_last;
  const std::int64_t unrolled = divisor(shape[shape.size() - (last ? 2 : 1)], rows);
  const AttrValue* attribute = find(op, attr::kernel_size);
  const Ints* window = attribute ? std::get_if<Ints>(attribute) : nullptr;
  const bool pointwise =
      window != nullptr && window->size() == 2 && (*window)[0] == 1 && (*window)[1] == 1;
  if (const std::int64_t groups = groups_of(op); groups > 1) {
    return {divisor(channels_of(op) / groups, lanes),
            pointwise ? unrolled : std::min(unrolled, kInMemory)};
  }
  const std::int64_t high = pointwise ? divisor(shape[last ? 1 : 2], rows / unrolled) : 1;
  return {divisor(channels_of(op), lanes), unrolled * high};
}

}  // namespace

std::int64_t largest_divisor(std::int64_t extent, std::int64_t bound) {
  std::int64_t divisor = std::min(extent, bound);
  while (divisor > 0 && extent % divisor != 0) --divisor;
  return std::max<std::int64_t>(divisor, 0);
}

Tile tile(const Operator& op, std::int64_t lanes, std::int64_t rows) {
  const Ints shape = op.type.shape;
  if (op.spec->name == op::attention || op.spec->name == op::matmul) {
    return {std::min<std::int64_t>(2, lanes), 1};
  }
  if (op.spec->name == op::dense) return tile_of_product(shape, lanes, rows);
  const CostRule rule = op.spec->rule;
  const bool over_images = rule == CostRule::convolution ||
                           rule == CostRule::transposed_convolution || rule == CostRule::window;
  if (over_images) return tile_of_image(op, lanes, rows);
  return {divisor(shape.empty() ? 0 : shape.back(), lanes), rows};
}

double stalls(double operations, std::int64_t rows) {
  const double in_flight = static_cast<double>(std::max(rows, kInFlight));
  return operations * (in_flight / static_cast<double>(rows) - 1);
}

}  // namespace relay_frontend
