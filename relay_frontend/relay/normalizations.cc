// Relay normalizations, softmax among them; twin of normalizations.py.

#include "relay_frontend/names.h"
#include "relay_frontend/relay/forms.h"

namespace relay_frontend {

namespace {

using namespace relay;

Node* batch_norm(Op op, const Converter& self) {
  const Int axis = op.axis();
  const bool is_canonical = axis == 1 || axis == static_cast<Int>(op.rank()) - 1;
  return is_canonical ? op.node(self.name) : op.unknown();
}

Node* layer_norm(Op op, const Converter& self) {
  return op.node(self.name, op.context.attrs({{attr::axes, op.context.ints({op.axis()})}}));
}

Node* group_norm(Op op, const Converter& self) {
  if (op.axis() != 1) return op.unknown();
  return op.node(self.name, op.context.attrs({{attr::num_groups, op.integer("num_groups")}}));
}

Node* instance_norm(Op op, const Converter& self) {
  return op.axis() == 1 ? op.node(self.name) : op.unknown();
}

Node* l2_normalize(Op op, const Converter& self) {
  return op.node(self.name, op.context.attrs({{attr::axes, op.context.span(sorted_axes(op))}}));
}

Node* lrn(Op op, const Converter& self) {
  return op.node(self.name, op.context.attrs({{attr::size, op.integer("size")}}));
}

const Converters kNormalizations{
    {"nn.batch_norm", {batch_norm, op::batch_norm}},
    {"nn.fast_softmax", {along_axis, op::softmax}},
    {"nn.group_norm", {group_norm, op::group_norm}},
    {"nn.instance_norm", {instance_norm, op::instance_norm}},
    {"nn.l2_normalize", {l2_normalize, op::l2_normalize}},
    {"nn.layer_norm", {layer_norm, op::layer_norm}},
    {"nn.log_softmax", {along_axis, op::log_softmax}},
    {"nn.lrn", {lrn, op::lrn}},
    {"nn.softmax", {along_axis, op::softmax}},
};

}  // namespace

const Converters& normalization_converters() { return kNormalizations; }

}  // namespace relay_frontend
