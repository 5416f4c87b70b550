// From a reader's nodes to the one graph of a network; twin of canonicalize.py.

#pragma once

#include <memory>

#include "relay_frontend/graph.h"
#include "relay_frontend/node.h"

namespace relay_frontend {

// The canonical graph of what a reader has read; the context and its nodes are used up.
std::unique_ptr<Graph> canonicalize(std::unique_ptr<Context> context, Network network);

}  // namespace relay_frontend
