// What each source adds to the extension module.

#pragma once

#include <nanobind/nanobind.h>

namespace relay_frontend {

void bind_onnx(nanobind::module_& module);
void bind_relax(nanobind::module_& module);
void bind_relay(nanobind::module_& module);

}  // namespace relay_frontend
