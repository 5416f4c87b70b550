// Names of the operators and attributes that rewrites speak of, and those of several importers.

#pragma once

#include "relay_frontend/node.h"

namespace relay_frontend {

namespace op {
inline const Name add = known("add");
inline const Name argmax = known("argmax");
inline const Name argmin = known("argmin");
inline const Name attention = known("attention");
inline const Name avg_pool1d = known("avg_pool1d");
inline const Name avg_pool2d = known("avg_pool2d");
inline const Name avg_pool3d = known("avg_pool3d");
inline const Name batch_norm = known("batch_norm");
inline const Name broadcast_to = known("broadcast_to");
inline const Name cast = known("cast");
inline const Name celu = known("celu");
inline const Name clip = known("clip");
inline const Name concatenate = known("concatenate");
inline const Name conv1d = known("conv1d");
inline const Name conv1d_transpose = known("conv1d_transpose");
inline const Name conv2d = known("conv2d");
inline const Name conv2d_transpose = known("conv2d_transpose");
inline const Name conv3d = known("conv3d");
inline const Name conv3d_transpose = known("conv3d_transpose");
inline const Name cumsum = known("cumsum");
inline const Name dense = known("dense");
inline const Name depth_to_space = known("depth_to_space");
inline const Name dequantize = known("dequantize");
inline const Name divide = known("divide");
inline const Name einsum = known("einsum");
inline const Name gather_elements = known("gather_elements");
inline const Name gather_nd = known("gather_nd");
inline const Name gelu = known("gelu");
inline const Name global_avg_pool2d = known("global_avg_pool2d");
inline const Name global_max_pool2d = known("global_max_pool2d");
inline const Name grid_sample = known("grid_sample");
inline const Name group_norm = known("group_norm");
inline const Name gru = known("gru");
inline const Name identity = known("identity");
inline const Name instance_norm = known("instance_norm");
inline const Name item = known("item");
inline const Name l2_normalize = known("l2_normalize");
inline const Name layer_norm = known("layer_norm");
inline const Name leaky_relu = known("leaky_relu");
inline const Name less = known("less");
inline const Name log = known("log");
inline const Name log_softmax = known("log_softmax");
inline const Name logsumexp = known("logsumexp");
inline const Name lrn = known("lrn");
inline const Name lstm = known("lstm");
inline const Name matmul = known("matmul");
inline const Name max = known("max");
inline const Name max_pool1d = known("max_pool1d");
inline const Name max_pool2d = known("max_pool2d");
inline const Name max_pool3d = known("max_pool3d");
inline const Name maximum = known("maximum");
inline const Name mean = known("mean");
inline const Name min = known("min");
inline const Name minimum = known("minimum");
inline const Name multiply = known("multiply");
inline const Name one_hot = known("one_hot");
inline const Name opaque = known("opaque");
inline const Name pad = known("pad");
inline const Name pad_edge = known("pad_edge");
inline const Name power = known("power");
inline const Name prod = known("prod");
inline const Name quantize = known("quantize");
inline const Name relu = known("relu");
inline const Name reshape = known("reshape");
inline const Name resize = known("resize");
inline const Name reverse = known("reverse");
inline const Name rms_norm = known("rms_norm");
inline const Name rnn = known("rnn");
inline const Name roi_align = known("roi_align");
inline const Name scatter_elements = known("scatter_elements");
inline const Name scatter_nd = known("scatter_nd");
inline const Name slice = known("slice");
inline const Name softmax = known("softmax");
inline const Name space_to_depth = known("space_to_depth");
inline const Name split = known("split");
inline const Name square = known("square");
inline const Name stack = known("stack");
inline const Name subtract = known("subtract");
inline const Name sum = known("sum");
inline const Name take = known("take");
inline const Name tile = known("tile");
inline const Name top_k = known("top_k");
inline const Name transpose = known("transpose");
inline const Name triangle = known("triangle");
inline const Name variance = known("variance");
inline const Name where = known("where");
}  // namespace op

namespace attr {
inline const Name alpha = known("alpha");
inline const Name approximate = known("approximate");
inline const Name axes = known("axes");
inline const Name axis = known("axis");
inline const Name begin = known("begin");
inline const Name block_size = known("block_size");
inline const Name count_include_pad = known("count_include_pad");
inline const Name dilation = known("dilation");
inline const Name equation = known("equation");
inline const Name groups = known("groups");
inline const Name has_bias = known("has_bias");
inline const Name has_mask = known("has_mask");
inline const Name hidden_size = known("hidden_size");
inline const Name index = known("index");
inline const Name is_causal = known("is_causal");
inline const Name k = known("k");
inline const Name keepdims = known("keepdims");
inline const Name kernel_size = known("kernel_size");
inline const Name largest = known("largest");
inline const Name max = known("max");
inline const Name min = known("min");
inline const Name num_directions = known("num_directions");
inline const Name num_groups = known("num_groups");
inline const Name order = known("order");
inline const Name pad_width = known("pad_width");
inline const Name padding = known("padding");
inline const Name repeats = known("repeats");
inline const Name size = known("size");
inline const Name strides = known("strides");
inline const Name upper = known("upper");
inline const Name value = known("value");
}  // namespace attr

}  // namespace relay_frontend
