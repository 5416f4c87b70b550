# How everything native is compiled.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2")

add_library(native_options INTERFACE)
target_compile_features(native_options INTERFACE cxx_std_17)
target_compile_options(native_options INTERFACE
  -Wall -Wextra -Wpedantic
  -fvisibility=hidden
)
