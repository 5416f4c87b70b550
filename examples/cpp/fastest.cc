// Which of several networks is the fastest, asked from C++ before any of them is built.
//
// The cost model is a global function of TVM, so nothing but tvm-ffi's headers is needed here. It
// lives in a process whose Python has imported tvm_costmodel.compiler.
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/tvm_ffi.h>

#include <cstdint>
#include <limits>
#include <optional>

namespace {

namespace ffi = tvm::ffi;

ffi::Function CostModel() {
  if (auto found = ffi::Function::GetGlobal("tvm_costmodel.estimate")) return *found;
  TVM_FFI_THROW(RuntimeError) << "import tvm_costmodel.compiler in Python first";
  TVM_FFI_UNREACHABLE();
}

/*!
 * \brief The position of the network with the lowest estimate.
 * \param networks IRModules, or paths of ONNX files.
 * \param platform Name of the platform, or parts that only one has.
 * \return -1 if there are no networks.
 */
int64_t Fastest(const ffi::Array<ffi::Any>& networks, const ffi::String& platform) {
  const ffi::Function estimate = CostModel();
  int64_t best = -1;
  double best_ms = std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < static_cast<int64_t>(networks.size()); ++i) {
    const double ms = estimate(networks[i], platform).cast<double>();
    if (ms < best_ms) {
      best = i;
      best_ms = ms;
    }
  }
  return best;
}

}  // namespace

TVM_FFI_DLL_EXPORT_TYPED_FUNC(fastest, Fastest);
