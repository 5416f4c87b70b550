#include "relay_frontend/onnx/protobuf.h"

#include <limits>

namespace relay_frontend::protobuf {

namespace {

constexpr int kLongVarint = 10;  // bytes of a 64-bit value
constexpr int kShortVarint = 5;  // bytes of a tag or a length: 32 bits

// Whether `text` is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms).
bool is_utf8(Text text) {
  const auto* byte = reinterpret_cast<const unsigned char*>(text.data());
  const auto* end = byte + text.size();
  while (byte != end) {
    const unsigned char lead = *byte++;
    if (lead < 0x80) continue;
    if (lead < 0xC2 || lead > 0xF4) return false;
    const int following = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    if (end - byte < following) return false;
    const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (*byte < low || *byte > high) return false;
    for (int i = 1; i < following; ++i) {
      if ((byte[i] & 0xC0) != 0x80) return false;
    }
    byte += following;
  }
  return true;
}

// The value of a varint at `at`, which moves behind it.
std::uint64_t read_varint(const char*& at, const char* end, int max_bytes) {
  std::uint64_t value = 0;
  for (int i = 0; i < max_bytes; ++i) {
    if (at == end) throw Unsupported("protobuf: truncated varint");
    const auto byte = static_cast<unsigned char>(*at++);
    if (i == kLongVarint - 1 && byte > 1) throw Unsupported("protobuf: varint beyond 64 bits");
    value |= static_cast<std::uint64_t>(byte & 0x7F) << (7 * i);
    if (byte < 0x80) return value;
  }
  throw Unsupported("protobuf: varint too long");
}

template <class T>
T read_fixed(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <class T>
void append_fixed(const Field& field, Wire wire, std::vector<T>& values) {
  if (field.wire == wire) {
    values.push_back(read_fixed<T>(field.end - sizeof(T)));
    return;
  }
  check_fixed(field, wire);
  const Text packed = field.bytes();
  const std::size_t old_size = values.size();
  values.resize(old_size + packed.size() / sizeof(T));
  if (!packed.empty()) std::memcpy(values.data() + old_size, packed.data(), packed.size());
}

}  // namespace

std::uint64_t Field::expect(Wire expected) const {
  if (wire != expected) throw Unsupported("protobuf: unexpected wire type");
  return scalar;
}

std::int32_t Field::enumerator() const {
  const std::int64_t value = integer();
  if (value < std::numeric_limits<std::int32_t>::min() ||
      value > std::numeric_limits<std::int32_t>::max()) {
    throw Unsupported("protobuf: value beyond 32 bits");
  }
  return static_cast<std::int32_t>(value);
}

float Field::real() const {
  const auto bits = static_cast<std::uint32_t>(expect(Wire::fixed32));
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

Text Field::bytes() const {
  expect(Wire::bytes);
  return content;
}

Text Field::text() const {
  const Text value = bytes();
  if (!is_utf8(value)) throw Unsupported("protobuf: text that is not UTF-8");
  return value;
}

bool Message::next(Field& field) {
  if (next_ == end_) return false;
  field.begin = next_;
  const std::uint64_t tag = varint(kShortVarint);
  if (tag > std::numeric_limits<std::uint32_t>::max() || tag >> 3 == 0) {
    throw Unsupported("protobuf: malformed tag");
  }
  field.number = static_cast<std::uint32_t>(tag >> 3);
  field.wire = static_cast<Wire>(tag & 7);
  field.content = {};
  field.scalar = 0;
  switch (field.wire) {
    case Wire::varint:
      field.scalar = varint(kLongVarint);
      break;
    case Wire::fixed64:
      if (end_ - next_ < 8) throw Unsupported("protobuf: truncated number");
      field.scalar = read_fixed<std::uint64_t>(next_);
      next_ += 8;
      break;
    case Wire::fixed32:
      if (end_ - next_ < 4) throw Unsupported("protobuf: truncated number");
      field.scalar = read_fixed<std::uint32_t>(next_);
      next_ += 4;
      break;
    case Wire::bytes: {
      const std::uint64_t size = varint(kShortVarint);
      if (size > static_cast<std::uint64_t>(end_ - next_)) {
        throw Unsupported("protobuf: length beyond the message");
      }
      field.content = Text(next_, size);
      next_ += size;
      break;
    }
    default:
      throw Unsupported("protobuf: groups are not read");
  }
  field.end = next_;
  return true;
}

std::uint64_t Message::varint(int max_bytes) { return read_varint(next_, end_, max_bytes); }

void append(const Field& field, std::vector<std::int64_t>& values) {
  if (field.wire == Wire::varint) {
    values.push_back(field.integer());
    return;
  }
  const Text packed = field.bytes();
  const char* at = packed.data();
  const char* end = at + packed.size();
  while (at != end) {
    values.push_back(static_cast<std::int64_t>(read_varint(at, end, kLongVarint)));
  }
}

void append(const Field& field, std::vector<float>& values) {
  append_fixed(field, Wire::fixed32, values);
}

void append(const Field& field, std::vector<double>& values) {
  append_fixed(field, Wire::fixed64, values);
}

void check_varints(const Field& field) {
  if (field.wire == Wire::varint) return;
  const Text packed = field.bytes();
  const char* at = packed.data();
  const char* end = at + packed.size();
  while (at != end) read_varint(at, end, kLongVarint);
}

void check_fixed(const Field& field, Wire wire) {
  if (field.wire == wire) return;
  const std::size_t width = wire == Wire::fixed32 ? 4 : 8;
  if (field.bytes().size() % width != 0) throw Unsupported("protobuf: truncated packed numbers");
}

void append_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

void append_tag(std::string& out, std::uint32_t number, Wire wire) {
  append_varint(out, number << 3 | static_cast<std::uint32_t>(wire));
}

void append_bytes(std::string& out, std::uint32_t number, Text content) {
  append_tag(out, number, Wire::bytes);
  append_varint(out, content.size());
  out.append(content);
}

}  // namespace relay_frontend::protobuf
