#include "relay_frontend/canonical/patterns.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <locale>
#include <sstream>
#include <utility>

#include "relay_frontend/names.h"
#include "relay_frontend/vocabulary.h"

namespace relay_frontend {

namespace {

constexpr double kTolerance = 1e-3;

// Limits of a single pattern, so that matching needs no memory from the heap.
constexpr std::size_t kMaxNames = 8;
constexpr std::size_t kMaxPairs = 24;

// An attribute and what it is or becomes. The names of a pattern are numbered, those of nodes from
// zero, those of attribute values from kMaxNames.
struct AttrTerm {
  Name name;
  bool is_named;
  std::size_t number;  // of the name, where it is one
  double value;        // else; the sign that a constant's content gets
};

struct Term {
  enum class Kind { call, operand, constant, number } kind;
  Name op;                  // of a call
  std::size_t number = 0;   // of the name of an operand or constant
  double value = 0.0;       // of a number
  std::vector<Term> operands = {};
  std::vector<AttrTerm> attrs = {};
};

struct Rule {
  Term result;
  Term formula;
};

struct Patterns {
  std::vector<std::vector<Rule>> rules;  // by the formula's operator
  std::vector<Name> commutative;
};

Patterns& patterns() {
  static Patterns table;
  return table;
}

// --- Parsing -----------------------------------------------------------------------------------

// Numbers the names of one pattern in the order of their appearance in the formula.
class Names {
 public:
  std::size_t number(Text name) {
    const auto found = std::find(names_.begin(), names_.end(), name);
    if (found != names_.end()) return static_cast<std::size_t>(found - names_.begin());
    if (names_.size() == kMaxNames) throw Unsupported("a pattern with too many names");
    names_.emplace_back(name);
    return names_.size() - 1;
  }
  std::size_t size() const { return names_.size(); }
  bool has(Text name) const {
    return std::find(names_.begin(), names_.end(), name) != names_.end();
  }

 private:
  std::vector<std::string> names_;
};

class Parser {
 public:
  Parser(Text text, Names& nodes, Names& attrs) : text_(text), nodes_(nodes), attrs_(attrs) {}

  Term parse() {
    Term term = parse_term();
    if (!token().empty()) throw Unsupported("not a pattern: " + std::string(text_));
    return term;
  }

 private:
  // The next token without taking it; empty at the end.
  Text token() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    std::size_t end = at_;
    while (end < text_.size() && is_word(end)) ++end;
    if (end == at_ && end < text_.size()) ++end;
    return text_.substr(at_, end - at_);
  }

  // Names and numbers, the signs of the latter and of their exponents included.
  bool is_word(std::size_t at) const {
    const char c = text_[at];
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '-';
  }

  Text take() {
    const Text taken = token();
    at_ += taken.size();
    return taken;
  }

  static Text without_sign(Text token) {
    return !token.empty() && token[0] == '-' ? token.substr(1) : token;
  }

  static bool is_number(Text token) {
    const Text digits = without_sign(token);
    return digits == "inf" || (!digits.empty() && (digits[0] == '.' || std::isdigit(digits[0])));
  }

  // As Python's float(), whatever the locale of the process.
  static double to_number(Text token) {
    if (without_sign(token) == "inf") return token[0] == '-' ? -HUGE_VAL : HUGE_VAL;
    std::istringstream text{std::string(token)};
    text.imbue(std::locale::classic());
    double number = 0.0;
    text >> number;
    return number;
  }

  static bool is_constant(Text token) {
    return std::none_of(token.begin(), token.end(), [](char c) { return c >= 'a' && c <= 'z'; });
  }

  Term parse_term() {
    const Text name = take();
    Term term{Term::Kind::call, {}};
    if (is_number(name)) {
      term.kind = Term::Kind::number;
      term.value = to_number(name);
    } else if (token() != "(") {
      term.kind = is_constant(name) ? Term::Kind::constant : Term::Kind::operand;
      term.number = nodes_.number(name);
    } else {
      term.op = known(name);
      while (take() != ")") parse_argument(term);
    }
    return term;
  }

  void parse_argument(Term& call) {
    const std::size_t start = at_;
    const Text name = take();
    if (token() != "=") {
      at_ = start;
      call.operands.push_back(parse_term());
      if (call.operands.size() > kMaxNames) throw Unsupported("a pattern with too many operands");
      return;
    }
    take();
    call.attrs.push_back(attr_term(known(name), take()));
  }

  AttrTerm attr_term(Name name, Text value) {
    if (value.empty()) throw Unsupported("not a pattern: " + std::string(text_));
    if (is_number(value)) return {name, false, 0, to_number(value)};
    // In a result, the content of a constant may become an attribute, or its negative.
    const Text constant = without_sign(value);
    if (!nodes_.has(constant)) return {name, true, kMaxNames + attrs_.number(value), 0.0};
    return {name, true, nodes_.number(constant), constant == value ? 1.0 : -1.0};
  }

  Text text_;
  Names& nodes_;
  Names& attrs_;
  std::size_t at_ = 0;
};

// --- Matching ----------------------------------------------------------------------------------

bool close(double value, double wanted) {
  if (std::isinf(wanted) || wanted == 0.0) return value == wanted;
  return std::abs(value - wanted) <= kTolerance * std::abs(wanted);
}

// The value of an attribute that is a number; booleans are 0 and 1.
bool as_number(const AttrValue& value, double& number) {
  if (const bool* b = std::get_if<bool>(&value)) return number = *b ? 1.0 : 0.0, true;
  if (const std::int64_t* i = std::get_if<std::int64_t>(&value)) {
    return number = static_cast<double>(*i), true;
  }
  if (const double* d = std::get_if<double>(&value)) return number = *d, true;
  return false;
}

// Equality as Python has it: numbers of different types are equal by value.
bool equal(const AttrValue& a, const AttrValue& b) {
  double x, y;
  if (as_number(a, x) && as_number(b, y)) return x == y;
  return a == b;
}

struct Match {
  std::array<Node*, kMaxNames> nodes = {};
  std::array<const AttrValue*, kMaxNames> attrs = {};
};

struct Pairs {
  std::array<std::pair<const Term*, Node*>, kMaxPairs> items;
  std::size_t size = 0;

  void push(const Term* term, Node* node) {
    if (size == kMaxPairs) throw Unsupported("a pattern that is too large");
    items[size++] = {term, node};
  }
};

// The attributes of a node as a mean over dimensions, which the global pooling is too.
Attrs attrs_as(const Term& term, const Node* node) {
  static const std::int64_t axes[] = {2, 3};
  static const Attr pooling[] = {{attr::axes, Ints(axes, 2)}, {attr::keepdims, true}};
  return term.op == op::mean && node->op == op::global_avg_pool2d ? Attrs(pooling, 2)
                                                                  : node->attrs;
}

bool is_called(const Term& term, const Node* node) {
  if (node->inputs.size() != term.operands.size()) return false;
  return node->op == term.op || (term.op == op::mean && node->op == op::global_avg_pool2d);
}

// What needs no knowledge of the other pairs: a quick way out.
bool may_match(const Term& term, const Node* node) {
  switch (term.kind) {
    case Term::Kind::operand: return !node->is_constant();
    case Term::Kind::constant: return node->is_constant();
    case Term::Kind::number: {
      const double* value = scalar(node);
      return value != nullptr && close(*value, term.value);
    }
    case Term::Kind::call: return is_called(term, node);
  }
  return false;
}

// patterns._match_call, behind is_called.
bool match_attrs(const Term& term, const Node* node, Match& match) {
  const Attrs attrs = attrs_as(term, node);
  for (const AttrTerm& wanted : term.attrs) {
    const auto found = std::find_if(attrs.begin(), attrs.end(), [&](const Attr& attr) {
      return attr.name == wanted.name;
    });
    if (found == attrs.end()) throw Unsupported("an attribute that a pattern looks at is missing");
    const AttrValue& value = found->value;
    double number;
    if (wanted.is_named) {
      const AttrValue*& bound = match.attrs[wanted.number - kMaxNames];
      if (bound == nullptr) bound = &value;
      if (!equal(*bound, value)) return false;
    } else if (!as_number(value, number) || !close(number, wanted.value)) {
      return false;
    }
  }
  return true;
}

bool all_may_match(const Term& term, const Node* node, bool crossed) {
  const std::size_t count = term.operands.size();
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t other = crossed ? count - 1 - i : i;
    if (!may_match(term.operands[i], node->inputs[other])) return false;
  }
  return true;
}

void push_all(const Term& term, const Node* node, bool crossed, Pairs& pairs) {
  const std::size_t count = term.operands.size();
  for (std::size_t i = 0; i < count; ++i) {
    pairs.push(&term.operands[i], node->inputs[crossed ? count - 1 - i : i]);
  }
}

bool is_commutative(Name op) {
  const std::vector<Name>& commutative = patterns().commutative;
  return std::find(commutative.begin(), commutative.end(), op) != commutative.end();
}

// Matches all pairs; both orders of commutative operands are tried. Recursion is as deep as a
// pattern has commutative operators.
bool match_pairs(Pairs& pairs, Match& match) {
  while (pairs.size != 0) {
    const auto [term, node] = pairs.items[--pairs.size];
    if (!may_match(*term, node)) return false;
    if (term->kind == Term::Kind::operand) {
      Node*& bound = match.nodes[term->number];
      if (bound == nullptr) bound = node;
      if (bound != node) return false;
    } else if (term->kind == Term::Kind::constant) {
      match.nodes[term->number] = node;
    } else if (term->kind == Term::Kind::call) {
      if (!match_attrs(*term, node, match)) return false;
      if (is_commutative(node->op) && all_may_match(*term, node, true)) {
        Pairs crossed = pairs;
        Match copy = match;
        push_all(*term, node, true, crossed);
        if (match_pairs(crossed, copy)) {
          match = copy;
          return true;
        }
      }
      if (!all_may_match(*term, node, false)) return false;
      push_all(*term, node, false, pairs);
    }
  }
  return true;
}

// --- Building ----------------------------------------------------------------------------------

// The attribute of a result; false where its value is not known or does not fit.
bool build_attr(const AttrTerm& wanted, const Match& match, std::vector<Attr>& attrs) {
  if (!wanted.is_named) {
    const bool is_flag = wanted.name == attr::approximate || wanted.name == attr::keepdims;
    attrs.push_back(is_flag ? Attr(wanted.name, wanted.value != 0.0)
                            : Attr(wanted.name, wanted.value));
    return true;
  }
  if (wanted.number < kMaxNames) {
    const double* value = scalar(match.nodes[wanted.number]);
    if (value != nullptr) attrs.emplace_back(wanted.name, wanted.value * *value);
    return value != nullptr;
  }
  const AttrValue& value = *match.attrs[wanted.number - kMaxNames];
  const Ints* ints = std::get_if<Ints>(&value);
  if (wanted.name != attr::axis || ints == nullptr) {
    attrs.emplace_back(wanted.name, value);
    return true;
  }
  if (ints->size() == 1) attrs.emplace_back(wanted.name, ints->front());
  return ints->size() == 1;
}

// Number of elements that the constants beside the data must have, if not one.
std::int64_t parameter_elements(const Node& result, Ints shape) {
  std::int64_t extents = 0;
  if (result.has(attr::axes)) {
    extents = 1;
    for (std::int64_t axis : result.ints(attr::axes)) {
      if (axis < 0) throw Unsupported("a negative axis");
      extents = checked_mul(extents, shape[static_cast<std::size_t>(axis)]);
    }
  } else if (shape.size() > 1) {
    extents = shape[1];
  }
  return extents;
}

bool keeps_type(Name op) {
  const OperatorSpec* spec = spec_of(op);
  if (spec == nullptr) throw Unsupported("a pattern's result is not in the vocabulary");
  return std::find(spec->attrs.begin(), spec->attrs.end(), attr::keepdims) == spec->attrs.end();
}

Node* build(Context& context, const Term& result, const Match& match, const Node* node) {
  if (result.kind != Term::Kind::call) {
    Node* operand = match.nodes[result.number];
    return operand->type == node->type ? operand : nullptr;
  }
  std::vector<Attr> attrs;
  for (const AttrTerm& wanted : result.attrs) {
    if (!build_attr(wanted, match, attrs)) return nullptr;
  }
  std::vector<Node*> operands;
  for (const Term& operand : result.operands) operands.push_back(match.nodes[operand.number]);
  const TensorType data = operands.at(0)->type;
  if (keeps_type(result.op) && data != node->type) return nullptr;
  Node* built = context.make(result.op, node->type, context.span(operands), context.span(attrs),
                             node->source);
  const std::int64_t extents = parameter_elements(*built, data.shape);
  for (const Node* parameter : built->inputs.slice(1)) {
    const std::int64_t elements = parameter->type.num_elements();
    if (elements != 1 && elements != extents) return nullptr;
  }
  return built;
}

}  // namespace

void reset_patterns(const std::vector<std::string>& commutative) {
  patterns() = {};
  for (const std::string& op : commutative) patterns().commutative.push_back(known(op));
}

void add_pattern(Text result, Text formula) {
  Names nodes, attrs;
  Term root = Parser(formula, nodes, attrs).parse();
  const std::size_t num_nodes = nodes.size(), num_attrs = attrs.size();
  Term replacement = Parser(result, nodes, attrs).parse();
  if (nodes.size() != num_nodes || attrs.size() != num_attrs) {
    throw Unsupported("a pattern's result has names that its formula lacks");
  }
  auto& rules = patterns().rules;
  if (rules.size() <= root.op.id) rules.resize(root.op.id + 1);
  rules[root.op.id].push_back({std::move(replacement), std::move(root)});
}

Node* recompose(Context& context, Node* node) {
  const auto& rules = patterns().rules;
  if (node->op.id >= rules.size()) return nullptr;
  for (const Rule& rule : rules[node->op.id]) {
    Pairs pairs;
    Match match;
    pairs.push(&rule.formula, node);
    if (!match_pairs(pairs, match)) continue;
    if (Node* replacement = build(context, rule.result, match, node)) return replacement;
  }
  return nullptr;
}

const double* scalar(const Node* node) {
  const bool is_known = node->is_constant() && node->value != nullptr && node->value->size() == 1;
  return is_known ? &node->value->reals[0] : nullptr;
}

}  // namespace relay_frontend
