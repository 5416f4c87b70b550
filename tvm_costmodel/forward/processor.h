// Which of the compiled instruction sets this processor has.

#pragma once

#include <vector>

#include "tvm_costmodel/forward/kernels.h"

namespace tvm_costmodel::forward {

// The kernels that run here, the fastest first.
const std::vector<const Kernels*>& supported_kernels();

}  // namespace tvm_costmodel::forward
