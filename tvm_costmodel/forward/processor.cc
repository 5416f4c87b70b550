#include "tvm_costmodel/forward/processor.h"

namespace tvm_costmodel::forward {

extern const Kernels baseline;

#ifdef KERNELS_FOR_X86
extern const Kernels avx2;
extern const Kernels avx512;
#endif

const std::vector<const Kernels*>& supported_kernels() {
  static const std::vector<const Kernels*> found = [] {
    std::vector<const Kernels*> kernels;
#ifdef KERNELS_FOR_X86
    __builtin_cpu_init();
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool has_avx512 = __builtin_cpu_supports("avx512f") &&
                            __builtin_cpu_supports("avx512dq") &&
                            __builtin_cpu_supports("avx512vl");
    if (has_avx2 && has_avx512) kernels.push_back(&avx512);
    if (has_avx2) kernels.push_back(&avx2);
#endif
    kernels.push_back(&baseline);
    return kernels;
  }();
  return found;
}

}  // namespace tvm_costmodel::forward
