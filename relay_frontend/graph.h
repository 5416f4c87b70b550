// The canonical form of a network, frozen; twin of graph.py.

#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "relay_frontend/node.h"
#include "relay_frontend/vocabulary.h"

namespace relay_frontend {

// One operator; the fields mean what they do in graph.Operator. Spans lie in the graph's context.
struct Operator {
  const OperatorSpec* spec;
  Span<AttrValue> attrs;  // in the order of spec->attrs
  Ints inputs;
  TensorType type;
  std::int64_t flops;
  std::int64_t param_bytes;
  std::int64_t read_bytes;
  std::int64_t write_bytes;
  Text source;
};

class Graph {
 public:
  // Numbers the operators in canonical order and attaches their costs; twin of
  // canonicalize._freeze.
  Graph(std::unique_ptr<Context> context, const Network& network);

  const std::vector<TensorType>& inputs() const { return inputs_; }
  const std::vector<Operator>& operators() const { return operators_; }
  const std::vector<std::int64_t>& outputs() const { return outputs_; }
  const std::vector<Text>& unknown_ops() const { return unknown_ops_; }

  std::int64_t batch_size() const;
  std::int64_t flops() const { return flops_; }
  std::int64_t param_bytes() const { return param_bytes_; }
  std::int64_t memory_bytes() const { return memory_bytes_; }

  // The canonical content, exactly as OpGraph.digest writes it, and its SHA-256 as hex.
  std::string canonical_text() const;
  std::string digest() const;

 private:
  Operator freeze(Node& node, std::vector<Text>& unknown, const std::vector<std::int64_t>& index);

  std::unique_ptr<Context> context_;
  std::vector<TensorType> inputs_;
  std::vector<Operator> operators_;
  std::vector<std::int64_t> outputs_;
  std::vector<Text> unknown_ops_;
  std::int64_t flops_ = 0;
  std::int64_t param_bytes_ = 0;
  std::int64_t memory_bytes_ = 0;
};

}  // namespace relay_frontend
