// SHA-256 (FIPS 180-4).

#pragma once

#include <string>
#include <string_view>

namespace relay_frontend {

// The digest of `data` as 64 lower-case hexadecimal digits.
std::string sha256_hex(std::string_view data);

}  // namespace relay_frontend
