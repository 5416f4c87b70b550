// Relax normalizations, softmax among them; twin of normalizations.py.

#include <vector>

#include "relay_frontend/names.h"
#include "relay_frontend/relax/forms.h"

namespace relay_frontend {

namespace {

using namespace relax;

Node* batch_norm(Call call) {
  return call.axis(call.rank()) == 1 ? call.node(op::batch_norm) : call.unknown();
}

template <const Name& name>
Node* trailing_norm(Call call) {
  const std::vector<Int> axes = sorted(positive(call, call.ints("axes")));
  return call.node(name, one(call, {attr::axes, call.context.span(axes)}));
}

// Whether a norm of images has its channels in dimension 1 and goes over all behind it.
bool over_channels(Call call) {
  return call.axis(call.rank(), "channel_axis") == 1 &&
         sorted(positive(call, call.ints("axes"))) == range(2, call.rank());
}

Node* group_norm(Call call) {
  if (!over_channels(call)) return call.unknown();
  return call.node(op::group_norm, one(call, {attr::num_groups, call.integer("num_groups")}));
}

Node* instance_norm(Call call) {
  return over_channels(call) ? call.node(op::instance_norm) : call.unknown();
}

}  // namespace

const RelaxConverters& relax_normalizations() {
  static const RelaxConverters converters = {
      {"nn.batch_norm", batch_norm},
      {"nn.group_norm", group_norm},
      {"nn.instance_norm", instance_norm},
      {"nn.layer_norm", trailing_norm<op::layer_norm>},
      {"nn.log_softmax", operand_axis<op::log_softmax>},
      {"nn.rms_norm", trailing_norm<op::rms_norm>},
      {"nn.softmax", operand_axis<op::softmax>},
  };
  return converters;
}

}  // namespace relay_frontend
