// What the caller asks first: which kernels this processor can run, and how large things are.
#define _DEFAULT_SOURCE  // madvise
#include <sys/mman.h>
#include "sign-planes.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

float kindred_halves[1 << 16];

static void fill_halves(void) {
  for (uint32_t half = 0; half < 1 << 16; half++) {
    // Shifted into place, the bits of a finite half are those of a float 2^112 times as small, whatever the exponent.
    const uint32_t bits = (half & 0x7fff) << 13 | (half & 0x8000) << 16;
    float small;
    memcpy(&small, &bits, sizeof small);
    kindred_halves[half] = (half & 0x7c00) == 0x7c00 ? NAN : small * 0x1p112f;
  }
}

// The names of the kernels that this processor can run, the fastest first, with a space between. Called before any of them runs.
const char *kindred_kernels(void) {
  fill_halves();
#if defined(__x86_64__)
  // Half floats (F16C), which not every compiler can ask for, came before AVX2.
  const int has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const int has_512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
  const int has_vbmi = has_512 && __builtin_cpu_supports("avx512vbmi");
  return has_vbmi ? "avx512vbmi avx512vnni avx2 scalar" : has_512 ? "avx512vnni avx2 scalar" : has_avx2 ? "avx2 scalar" : "scalar";
#elif defined(__aarch64__) && defined(__linux__)
  return getauxval(AT_HWCAP) & (1ul << 20) ? "neon scalar" : "scalar";  // bit 20: ASIMDDP
#elif defined(__aarch64__) && defined(__APPLE__)
  return "neon scalar";
#else
  return "scalar";
#endif
}

// To be held against ggml's own.
size_t kindred_tensor_bytes(void) { return sizeof(struct ggml_tensor); }

// Asks for large pages where memory that was not touched yet spans some: weights are read from end to end in every step.
void kindred_use_large_pages(void *memory, size_t bytes) {
#if defined(MADV_HUGEPAGE)
  const uintptr_t large = 2 << 20;
  const uintptr_t begin = ((uintptr_t)memory + large - 1) & ~(large - 1), end = ((uintptr_t)memory + bytes) & ~(large - 1);
  if (begin < end) madvise((void *)begin, end - begin, MADV_HUGEPAGE);
#else
  (void)memory, (void)bytes;
#endif
}

// Memory for quantised rows, wherever it begins, and for the tables of as many of them.
size_t kindred_quantized_bytes(int64_t inputs, int64_t rows, int64_t tabled) {
  return 64 + quantized_bytes(inputs, rows) + (size_t)tabled * sign_tables_bytes(inputs);
}

// result: [inputs, rows] f32; src[0]: planes [inputs in whole blocks, outputs, slots]; src[1]: of each row its slot · outputs + output,
// i32. Threads take rows in turn.
void kindred_look_up_signs(struct ggml_tensor *result, int thread, int threads, void *none) {
  (void)none;
  const struct ggml_tensor *pool = result->src[0];
  const int32_t *places = result->src[1]->data;
  const int64_t inputs = result->ne[0], outputs = pool->ne[1], groups = (inputs + group_inputs - 1) / group_inputs;
  for (int64_t row = thread; row < result->ne[1]; row += threads) {
    const int64_t output = places[row] % outputs;
    const int lane = (int)(output % strip_outputs);
    const char *plane = plane_of_slot(pool, places[row] / outputs);
    const struct sign_strip strip = sign_strip_of(plane, outputs, groups, output / strip_outputs, 0);
    float *to = (float *)((char *)result->data + (size_t)row * result->nb[1]);
    for (int64_t first = 0; first < inputs; first += group_inputs) {
      const int64_t count = inputs - first < group_inputs ? inputs - first : group_inputs;
      const float scale = kindred_halves[strip.scales[first / block_inputs * strip_outputs + lane]];
      const uint32_t signs = signs_of(strip.signs + first / group_inputs * group_signs, lane);
      for (int64_t i = 0; i < count; i++) to[first + i] = signs >> i & 1 ? scale : -scale;
    }
  }
}
