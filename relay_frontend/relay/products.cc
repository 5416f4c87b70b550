// Relay products: of matrices, and sums of products in general; twin of products.py.

#include <utility>
#include <vector>

#include "relay_frontend/names.h"
#include "relay_frontend/relay/forms.h"

namespace relay_frontend {

namespace {

using namespace relay;

// The node with its last two dimensions swapped.
Node* swapped(Context& context, Node* node) {
  const std::size_t rank = node->type.rank();
  if (rank < 2) throw Unsupported("no matrix");
  std::vector<Int> axes = range(0, static_cast<Int>(rank));
  std::swap(axes[rank - 2], axes[rank - 1]);
  return transposed(context, node, axes);
}

Node* matmul(Op op, Node* a, Node* b) {
  const Ints shape = b->type.shape;
  const std::size_t leading = shape.size() < 2 ? 0 : shape.size() - 2;
  if (b->is_constant() && all_equal(shape.slice(0, leading), 1)) {
    // One matrix for the whole stack.
    b = op.context.constant(op.context.type(shape.slice(leading), b->type.dtype));
  }
  return op.node(op::matmul, op.context.operands({a, b}));
}

// A product of matrices; that of integers has scales and zero points as further operands.
Node* product(Op op, const Converter&) {
  Node* a = op.inputs[0];
  Node* b = op.inputs[1];
  if (op.integer("transpose_a") != 0) a = swapped(op.context, a);
  if (op.integer("transpose_b") != 0) b = swapped(op.context, b);
  return matmul(op, a, b);
}

Node* dense(Op op, const Converter&) {
  return matmul(op, op.inputs[0], swapped(op.context, op.inputs[1]));
}

Node* einsum(Op op, const Converter& self) {
  return op.node(self.name, op.context.attrs({{attr::equation, op.text("equation")}}));
}

const Converters kProducts{
    {"einsum", {einsum, op::einsum}},
    {"nn.batch_matmul", {product, op::matmul}},
    {"nn.dense", {dense, op::matmul}},
    {"nn.matmul", {product, op::matmul}},
    {"qnn.batch_matmul", {dense, op::matmul}},
    {"qnn.dense", {dense, op::matmul}},
};

}  // namespace

const Converters& product_converters() { return kProducts; }

}  // namespace relay_frontend
