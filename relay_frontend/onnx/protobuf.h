// The wire format of protocol buffers, read in place and strictly.
//
// A Message is a cursor over the fields of one encoded message; it never copies, recurses or
// allocates. Whatever a parser of protocol buffers may understand in another way (groups, oversized
// tags, lengths beyond the message, a field of another wire type than expected) is Unsupported: the
// Python twin, which has the real parser, decides what it means.
//
// See https://protobuf.dev/programming-guides/encoding for the format.

#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "relay_frontend/node.h"

namespace relay_frontend::protobuf {

enum class Wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

// One field as it stands in the message.
struct Field {
  std::uint32_t number = 0;
  Wire wire = Wire::varint;
  std::uint64_t scalar = 0;     // of varint, fixed64 and fixed32
  Text content;                 // of bytes
  const char* begin = nullptr;  // first byte of the tag
  const char* end = nullptr;    // behind the last byte of the value

  // The value; Unsupported where the wire type is another one.
  std::int64_t integer() const { return static_cast<std::int64_t>(expect(Wire::varint)); }
  std::int32_t enumerator() const;  // of an enum or int32; Unsupported beyond 32 bits
  float real() const;
  Text bytes() const;
  Text text() const;  // Unsupported where it is not UTF-8

  // The encoded field, tag included.
  Text encoded() const { return Text(begin, static_cast<std::size_t>(end - begin)); }

 private:
  std::uint64_t expect(Wire expected) const;
};

class Message {
 public:
  explicit Message(Text encoded) : next_(encoded.data()), end_(next_ + encoded.size()) {}

  // Reads the next field; false at the end of the message.
  bool next(Field& field);

 private:
  std::uint64_t varint(int max_bytes);

  const char* next_;
  const char* end_;
};

// Appends the values of a repeated scalar field, packed or one at a time.
void append(const Field& field, std::vector<std::int64_t>& values);
void append(const Field& field, std::vector<float>& values);
void append(const Field& field, std::vector<double>& values);

// Unsupported where a packed field holds anything but complete varints, or complete numbers of
// `width` bytes; for content that nobody else will look at.
void check_varints(const Field& field);
void check_fixed(const Field& field, Wire wire);

void append_varint(std::string& out, std::uint64_t value);
void append_tag(std::string& out, std::uint32_t number, Wire wire);
void append_bytes(std::string& out, std::uint32_t number, Text content);

}  // namespace relay_frontend::protobuf
