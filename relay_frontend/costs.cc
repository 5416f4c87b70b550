#include "relay_frontend/costs.h"

#include <algorithm>
#include <string>
#include <vector>

#include "relay_frontend/names.h"

namespace relay_frontend {

namespace {

constexpr std::int64_t kLrnFlopsPerElement = 4;

std::int64_t product(Ints values) {
  std::int64_t result = 1;
  for (std::int64_t value : values) result = checked_mul(result, value);
  return result;
}

std::int64_t positive(std::int64_t value) {
  if (value <= 0) throw Unsupported("a count that is not positive");
  return value;
}

std::int64_t bias(const Node& node) {
  const AttrValue* has_bias = node.find(attr::has_bias);
  const bool biased = has_bias != nullptr && node.boolean(attr::has_bias);
  return biased ? node.type.num_elements() : 0;
}

std::int64_t convolution(const Node& node, const OperatorSpec& spec) {
  const Ints data = node.inputs[0]->type.shape;
  const std::int64_t channels = spec.channels_last ? data.back() : data[1];
  const std::int64_t groups = positive(node.integer(attr::groups));
  const std::int64_t per_window = checked_mul(node.type.num_elements(), channels) / groups;
  const std::int64_t multiply_adds =
      checked_mul(per_window, product(node.ints(attr::kernel_size)));
  return checked_add(checked_mul(2, multiply_adds), bias(node));
}

std::int64_t transposed_convolution(const Node& node) {
  const std::int64_t channels = node.type.shape[1] / positive(node.integer(attr::groups));
  const std::int64_t multiply_adds =
      checked_mul(checked_mul(node.inputs[0]->type.num_elements(), channels),
                  product(node.ints(attr::kernel_size)));
  return checked_add(checked_mul(2, multiply_adds), bias(node));
}

std::int64_t matrix_product(const Node& node) {
  const std::int64_t depth = node.inputs[0]->type.shape.back();
  const std::int64_t multiply_adds = checked_mul(node.type.num_elements(), depth);
  return checked_add(checked_mul(2, multiply_adds), bias(node));
}

// The extents of an einsum's indices; those under an ellipsis by their distance from its end.
class Extents {
 public:
  // The indices of one operand, which has these extents.
  void add(Text term, Ints shape) {
    const std::size_t dots = term.find("...");
    const Text before = term.substr(0, dots);
    const Text after = dots == Text::npos ? Text() : term.substr(dots + 3);
    const std::size_t named = before.size() + after.size();
    const std::size_t hidden = shape.size() > named ? shape.size() - named : 0;
    std::size_t axis = 0;
    for (char index : before) add(letters_[static_cast<unsigned char>(index)], shape, axis++);
    if (hidden_.size() < hidden) hidden_.resize(hidden, 1);
    for (std::size_t i = hidden; i-- > 0;) add(hidden_[i], shape, axis++);
    for (char index : after) add(letters_[static_cast<unsigned char>(index)], shape, axis++);
  }

  std::int64_t combinations() const {
    std::int64_t product = 1;
    for (std::int64_t extent : letters_) product = checked_mul(product, extent);
    for (std::int64_t extent : hidden_) product = checked_mul(product, extent);
    return product;
  }

 private:
  static void add(std::int64_t& extent, Ints shape, std::size_t axis) {
    if (axis < shape.size()) extent = std::max(extent, shape[axis]);
  }

  std::vector<std::int64_t> letters_ = std::vector<std::int64_t>(256, 1);
  std::vector<std::int64_t> hidden_;
};

std::int64_t einsum(const Node& node) {
  std::string equation(node.text(attr::equation));
  equation.erase(std::remove(equation.begin(), equation.end(), ' '), equation.end());
  const Text terms = Text(equation).substr(0, equation.find("->"));
  Extents extents;
  std::size_t start = 0;
  for (const Node* operand : node.inputs) {
    const std::size_t comma = std::min(terms.find(',', start), terms.size());
    extents.add(terms.substr(start, comma - start), operand->type.shape);
    if (comma == terms.size()) break;
    start = comma + 1;
  }
  return checked_mul(2, extents.combinations());
}

std::int64_t attention(const Node& node) {
  const Ints query = node.inputs[0]->type.shape;
  const Ints key = node.inputs[1]->type.shape;
  const Ints value = node.inputs[2]->type.shape;
  if (query.empty() || key.size() < 2) throw Unsupported("attention over too few dimensions");
  const std::int64_t scores =
      checked_mul(product(query.slice(0, query.size() - 1)), key[key.size() - 2]);
  const std::int64_t mask = node.boolean(attr::has_mask) ? 1 : 0;
  const std::int64_t products =
      checked_add(checked_mul(2, query.back()), checked_mul(2, value.back()));
  return checked_mul(scores, checked_add(products, 1 + mask + kSoftmaxFlops));
}

std::int64_t recurrent(const Node& node) {
  const Ints data = node.inputs[0]->type.shape;
  if (data.size() != 3) throw Unsupported("a sequence has three dimensions");
  const std::int64_t hidden = node.integer(attr::hidden_size);
  const std::int64_t directions = node.integer(attr::num_directions);
  const std::int64_t rows =
      checked_mul(checked_mul(checked_mul(data[0], data[1]), directions), hidden);
  const std::int64_t per_row =
      checked_add(checked_add(checked_mul(2, data[2]), checked_mul(2, hidden)), 4);
  return checked_mul(rows, per_row);
}

std::int64_t lrn(const Node& node) {
  const std::int64_t per_element =
      checked_add(checked_mul(2, node.integer(attr::size)), kLrnFlopsPerElement);
  return checked_mul(node.type.num_elements(), per_element);
}

std::int64_t per_input_element(const Node& node) {
  std::int64_t sum = 0;
  for (const Node* operand : node.inputs) {
    if (!operand->is_constant()) sum = checked_add(sum, operand->type.num_elements());
  }
  return sum;
}

std::int64_t by_rule(const Node& node, const OperatorSpec& spec) {
  switch (spec.rule) {
    case CostRule::attention: return attention(node);
    case CostRule::convolution: return convolution(node, spec);
    case CostRule::einsum: return einsum(node);
    case CostRule::elements: return node.type.num_elements();
    case CostRule::inputs: return per_input_element(node);
    case CostRule::lrn: return lrn(node);
    case CostRule::none: return 0;
    case CostRule::product: return matrix_product(node);
    case CostRule::recurrent: return recurrent(node);
    case CostRule::transposed_convolution: return transposed_convolution(node);
    case CostRule::window:
      return checked_mul(node.type.num_elements(), product(node.ints(attr::kernel_size)));
  }
  throw Unsupported("cost rule");
}

std::int64_t operand_bytes(const Node& node, bool constants) {
  std::int64_t sum = 0;
  for (const Node* operand : node.inputs) {
    if (operand->is_constant() == constants) sum = checked_add(sum, operand->type.num_bytes());
  }
  return sum;
}

}  // namespace

std::int64_t flops(const Node& node, const OperatorSpec& spec) {
  return checked_mul(by_rule(node, spec), spec.factor);
}

std::int64_t param_bytes(const Node& node) { return operand_bytes(node, true); }

std::int64_t read_bytes(const Node& node) { return operand_bytes(node, false); }

}  // namespace relay_frontend
