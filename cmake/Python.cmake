# The interpreter that the build runs for, and nanobind, which it has as a build requirement.
set(dev_component Development.Module)
find_package(Python 3.10 REQUIRED COMPONENTS Interpreter ${dev_component})
execute_process(
  COMMAND "${Python_EXECUTABLE}" -m nanobind --cmake_dir
  OUTPUT_STRIP_TRAILING_WHITESPACE OUTPUT_VARIABLE nanobind_ROOT
  RESULT_VARIABLE nanobind_missing
)
if(nanobind_missing)
  message(FATAL_ERROR "${Python_EXECUTABLE} has no nanobind: pip install nanobind")
endif()
find_package(nanobind CONFIG REQUIRED)
