// Twin of canonicalize.py.

#include "relay_frontend/canonical/canonicalize.h"

#include <utility>

#include "relay_frontend/canonical/sweeps.h"

namespace relay_frontend {

std::unique_ptr<Graph> canonicalize(std::unique_ptr<Context> context, Network network) {
  simplify(*context, network.outputs);
  absorb(*context, network.outputs);
  split_from_slices(*context, network.outputs);
  concatenate_from_stacks(*context, network.outputs);
  return std::make_unique<Graph>(std::move(context), network);
}

}  // namespace relay_frontend
