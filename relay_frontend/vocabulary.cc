#include "relay_frontend/vocabulary.h"

#include <utility>

#include "relay_frontend/names.h"

namespace relay_frontend {

namespace {

constexpr std::pair<const char*, CostRule> kRules[] = {
    {"attention", CostRule::attention},
    {"convolution", CostRule::convolution},
    {"einsum", CostRule::einsum},
    {"elements", CostRule::elements},
    {"inputs", CostRule::inputs},
    {"lrn", CostRule::lrn},
    {"none", CostRule::none},
    {"product", CostRule::product},
    {"recurrent", CostRule::recurrent},
    {"transposed_convolution", CostRule::transposed_convolution},
    {"window", CostRule::window},
};

CostRule rule_named(Text name) {
  for (const auto& [text, rule] : kRules) {
    if (name == text) return rule;
  }
  throw Unsupported("cost rule " + std::string(name));
}

bool ends_with(Text text, Text ending) {
  return text.size() >= ending.size() && text.substr(text.size() - ending.size()) == ending;
}

Slot parse_slot(Text slot) {
  const std::size_t bracket = slot.find('[');
  if (bracket == Text::npos) return {known(slot), 0};
  return {known(slot.substr(0, bracket)), std::stoul(std::string(slot.substr(bracket + 1)))};
}

}  // namespace

Vocabulary& vocabulary() {
  static Vocabulary tables;
  return tables;
}

const OperatorSpec* spec_of(Name op) {
  const Vocabulary& tables = vocabulary();
  if (op.id >= tables.position.size() || tables.position[op.id] < 0) return nullptr;
  return &tables.operators[static_cast<std::size_t>(tables.position[op.id])];
}

bool is_convolution(Name op) {
  const OperatorSpec* spec = spec_of(op);
  return spec != nullptr && (spec->rule == CostRule::convolution ||
                             spec->rule == CostRule::transposed_convolution);
}

bool is_linear(Name op) { return op == op::dense || is_convolution(op); }

void add_operator(Text name, const std::vector<std::string>& attrs,
                  const std::vector<std::string>& slots, Text cost, Text category,
                  std::int64_t transcendentals, Pattern pattern) {
  Vocabulary& tables = vocabulary();
  OperatorSpec spec;
  spec.name = known(name);
  for (const std::string& attr : attrs) spec.attrs.push_back(known(attr));
  for (const std::string& slot : slots) spec.slots.push_back(parse_slot(slot));
  const std::size_t star = cost.find('*');
  spec.rule = rule_named(cost.substr(0, star));
  spec.factor = star == Text::npos ? 1 : std::stoll(std::string(cost.substr(star + 1)));
  spec.category = known(category);
  spec.transcendentals = transcendentals;
  spec.pattern = pattern;
  spec.index = tables.operators.size();
  spec.channels_last = ends_with(name, "nhwc");
  spec.transposed = ends_with(name, "transpose");
  if (tables.position.size() <= spec.name.id) tables.position.resize(spec.name.id + 1, -1);
  tables.position[spec.name.id] = static_cast<std::int32_t>(spec.index);
  tables.operators.push_back(std::move(spec));
}

Name category(Text operator_name) {
  const std::size_t dot = operator_name.rfind('.');
  std::string name(dot == Text::npos ? operator_name : operator_name.substr(dot + 1));
  for (char& c : name) {
    if (static_cast<unsigned char>(c) >= 0x80) throw Unsupported("an operator's name is not ASCII");
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  const auto& categories = vocabulary().categories;
  const auto found = categories.find(name);
  return found == categories.end() ? op::opaque : found->second;
}

const Name* plain_operator(Source source, Text operator_name) {
  const auto& table = vocabulary().plain[static_cast<std::size_t>(source)];
  const auto found = table.find(std::string(operator_name));
  return found == table.end() ? nullptr : &found->second;
}

}  // namespace relay_frontend
