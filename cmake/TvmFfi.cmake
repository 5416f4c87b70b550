# The C header of tvm-ffi. Its functions are looked up in the running process, so nothing is linked.
execute_process(
  COMMAND "${Python_EXECUTABLE}" -m tvm_ffi.config --includedir
  OUTPUT_STRIP_TRAILING_WHITESPACE OUTPUT_VARIABLE tvm_ffi_include
  RESULT_VARIABLE tvm_ffi_missing
)
if(tvm_ffi_missing)
  message(FATAL_ERROR "${Python_EXECUTABLE} has no tvm_ffi: pip install apache-tvm-ffi")
endif()
add_library(tvm_ffi_header INTERFACE)
target_include_directories(tvm_ffi_header SYSTEM INTERFACE "${tvm_ffi_include}")
