// Attributes and arguments of Relax calls.

#include <vector>

#include "relay_frontend/relax/reader.h"

namespace relay_frontend {

namespace {

using ffi::Kind;

// Numbers may be IR nodes themselves.
ffi::Value plain(const ffi::Value& value) {
  if (!value.is_object()) return value;
  const ffi::Object object = value.object();
  if (object.kind() != Kind::int_imm && object.kind() != Kind::float_imm) {
    throw Unsupported("a number of this class");
  }
  return object.field("value");
}

std::vector<std::int64_t> integers(const ffi::Sequence& sequence) {
  std::vector<std::int64_t> values;
  values.reserve(sequence.size());
  for (std::size_t i = 0; i < sequence.size(); ++i) {
    values.push_back(plain(sequence[i]).integer());
  }
  return values;
}

}  // namespace

ffi::Value RelaxCall::attr(const char* name) const { return attrs_.object().field(name); }

ffi::Object RelaxCall::function() const { return attrs_.object(); }

bool RelaxCall::has(const char* name) const { return !attr(name).is_none(); }

std::int64_t RelaxCall::integer(const char* name) const { return plain(attr(name)).integer(); }

double RelaxCall::real(const char* name) const { return plain(attr(name)).real(); }

Text RelaxCall::text(const char* name) const {
  const ffi::Value value = attr(name);
  return context.text(value.text());
}

Ints RelaxCall::ints(const char* name) const {
  return context.span(integers(attr(name).sequence()));
}

ffi::Value RelaxCall::number(std::size_t position) const {
  if (position >= args.size()) throw Unsupported("a call with fewer arguments");
  return plain(args[position]);
}

std::vector<std::int64_t> RelaxCall::tuple(std::size_t position) const {
  if (position >= args.size()) throw Unsupported("a call with fewer arguments");
  return integers(args[position].object().field("fields").sequence());
}

}  // namespace relay_frontend
