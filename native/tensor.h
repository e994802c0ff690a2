// What these kernels read of a graph's tensors. The layout is that of the one ggml version that src/ggml/library.ts accepts;
// `kindred_tensor_bytes` lets the caller hold its size against ggml's own.
#pragma once
#include <stddef.h>
#include <stdint.h>

struct ggml_tensor {
  int32_t type;
  void *buffer;
  int64_t ne[4];  // extents, fastest first
  size_t nb[4];   // strides in bytes
  int32_t op;
  int32_t op_params[16];
  int32_t flags;
  struct ggml_tensor *src[10];
  struct ggml_tensor *view_src;
  size_t view_offs;
  void *data;
  char name[64];
  void *extra;
  char padding[8];
};

// The custom operation of a graph: called by each of `threads` threads, which cannot wait for each other within it.
typedef void custom_op(struct ggml_tensor *result, int thread, int threads, void *user_data);

#define ALWAYS_INLINE static inline __attribute__((always_inline))

// Every half float as a float, by its bits: a load costs less than a conversion among vectors. Filled by `kindred_kernels`.
extern float kindred_halves[1 << 16];

// Weights are asked for so far ahead of their use: the processor's own prefetching ends at the end of a page.
enum { prefetch_bytes = 4096, line_bytes = 64 };
