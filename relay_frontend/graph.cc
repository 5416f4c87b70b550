#include "relay_frontend/graph.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <limits>
#include <locale>
#include <sstream>

#include "relay_frontend/costs.h"
#include "relay_frontend/names.h"
#include "relay_frontend/sha256.h"

namespace relay_frontend {

namespace {

constexpr std::int64_t kNoIndex = std::numeric_limits<std::int64_t>::min();

// Texts go into the digest as JSON; all that the vocabulary has are plain.
void check_text(Text text) {
  for (char c : text) {
    if (c < 0x20 || c > 0x7e) throw Unsupported("a text that is not plain ASCII");
  }
}

}  // namespace

Graph::Graph(std::unique_ptr<Context> context, const Network& network)
    : context_(std::move(context)) {
  std::vector<std::int64_t> index(context_->num_nodes(), kNoIndex);
  for (std::size_t k = 0; k < network.inputs.size(); ++k) {
    index[network.inputs[k]->serial] = -1 - static_cast<std::int64_t>(k);
    inputs_.push_back(network.inputs[k]->type);
  }
  for (Node* node : topological(*context_, network.outputs)) {
    if (node->op == op::constant || node->op == op::input) continue;
    operators_.push_back(freeze(*node, unknown_ops_, index));
    index[node->serial] = static_cast<std::int64_t>(operators_.size()) - 1;
  }
  for (const Node* node : network.outputs) {
    if (node->is_constant()) continue;
    if (index[node->serial] == kNoIndex) throw Unsupported("an output that is no graph input");
    outputs_.push_back(index[node->serial]);
  }
  std::sort(unknown_ops_.begin(), unknown_ops_.end());
  unknown_ops_.erase(std::unique(unknown_ops_.begin(), unknown_ops_.end()), unknown_ops_.end());
}

Operator Graph::freeze(Node& node, std::vector<Text>& unknown,
                       const std::vector<std::int64_t>& index) {
  if (is_linear(node.op)) {
    node.attrs = context_->with(node.attrs, {attr::has_bias, node.inputs.size() > 2});
  }
  const OperatorSpec* spec = spec_of(node.op);
  if (spec == nullptr) {
    const Text name = context_->text_of(node.op);
    check_text(name);
    unknown.push_back(name);
    spec = spec_of(category(name));
    if (spec == nullptr) throw Unsupported("a category is not in the vocabulary");
  }
  std::vector<AttrValue> attrs;
  for (Name name : spec->attrs) {
    const AttrValue* value = node.find(name);
    if (value == nullptr) throw Unsupported("a canonical attribute is missing");
    if (const Text* text = std::get_if<Text>(value)) check_text(*text);
    attrs.push_back(*value);
  }
  std::vector<std::int64_t> inputs;
  for (const Node* operand : node.inputs) {
    if (operand->is_constant()) continue;
    if (index[operand->serial] == kNoIndex) throw Unsupported("an operand without a number");
    inputs.push_back(index[operand->serial]);
  }
  Operator result;
  result.spec = spec;
  result.attrs = context_->span(attrs);
  result.inputs = context_->span(inputs);
  result.type = node.type;
  result.flops = relay_frontend::flops(node, *spec);
  result.param_bytes = relay_frontend::param_bytes(node);
  result.read_bytes = relay_frontend::read_bytes(node);
  result.write_bytes = node.type.num_bytes();
  result.source = node.source;
  flops_ = checked_add(flops_, result.flops);
  param_bytes_ = checked_add(param_bytes_, result.param_bytes);
  memory_bytes_ = checked_add(memory_bytes_, checked_add(result.read_bytes, result.write_bytes));
  memory_bytes_ = checked_add(memory_bytes_, result.param_bytes);
  return result;
}

std::int64_t Graph::batch_size() const {
  for (const TensorType& type : inputs_) {
    if (type.rank() != 0) return type.shape.front();
  }
  return 1;
}

// --- The canonical text: json.dumps(..., separators=(",", ":")) --------------------------------

namespace {

class JsonText {
 public:
  std::string text;

  void raw(Text part) { text.append(part); }

  // Names and texts, which hold printable ASCII only.
  void quoted(Text value) {
    text.push_back('"');
    for (char c : value) {
      if (c == '"' || c == '\\') text.push_back('\\');
      text.push_back(c);
    }
    text.push_back('"');
  }

  void integer(std::int64_t value) { text.append(std::to_string(value)); }

  void ints(Ints values) {
    text.push_back('[');
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i != 0) text.push_back(',');
      integer(values[i]);
    }
    text.push_back(']');
  }

  // TensorType.__str__
  void type(const TensorType& type) {
    text.push_back('"');
    text.append(dtype_name(type.dtype));
    text.push_back('[');
    for (std::size_t i = 0; i < type.rank(); ++i) {
      if (i != 0) text.append(", ");
      integer(type.shape[i]);
    }
    text.append("]\"");
  }

  void value(const AttrValue& value) {
    std::visit([this](const auto& v) { this->plain(v); }, value);
  }

 private:
  void plain(bool value) { text.append(value ? "true" : "false"); }
  void plain(std::int64_t value) { integer(value); }
  void plain(Text value) { quoted(value); }
  void plain(Ints values) { ints(values); }
  // Python's f"{value:.6g}", whatever the locale of the process.
  void plain(double value) {
    std::ostringstream digits;
    digits.imbue(std::locale::classic());
    digits << std::setprecision(6) << value;
    quoted(std::isnan(value) ? "nan" : digits.str());
  }
};

void write_attrs(JsonText& json, const Context& context, const Operator& op) {
  std::vector<std::pair<Text, const AttrValue*>> sorted;
  for (std::size_t i = 0; i < op.attrs.size(); ++i) {
    sorted.emplace_back(context.text_of(op.spec->attrs[i]), &op.attrs[i]);
  }
  std::sort(sorted.begin(), sorted.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  json.raw("{");
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    if (i != 0) json.raw(",");
    json.quoted(sorted[i].first);
    json.raw(":");
    json.value(*sorted[i].second);
  }
  json.raw("}");
}

}  // namespace

std::string Graph::canonical_text() const {
  JsonText json;
  json.raw("{\"version\":\"opgraph-1\",\"inputs\":[");
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (i != 0) json.raw(",");
    json.type(inputs_[i]);
  }
  json.raw("],\"operators\":[");
  for (std::size_t i = 0; i < operators_.size(); ++i) {
    const Operator& op = operators_[i];
    json.raw(i != 0 ? ",[" : "[");
    json.quoted(context_->text_of(op.spec->name));
    json.raw(",");
    write_attrs(json, *context_, op);
    json.raw(",");
    json.ints(op.inputs);
    json.raw(",");
    json.type(op.type);
    json.raw("]");
  }
  json.raw("],\"outputs\":");
  json.ints(Ints(outputs_.data(), outputs_.size()));
  if (!unknown_ops_.empty()) {
    json.raw(",\"unknown\":[");
    for (std::size_t i = 0; i < unknown_ops_.size(); ++i) {
      if (i != 0) json.raw(",");
      json.quoted(unknown_ops_[i]);
    }
    json.raw("]");
  }
  json.raw("}");
  return std::move(json.text);
}

std::string Graph::digest() const { return sha256_hex(canonical_text()); }

}  // namespace relay_frontend
