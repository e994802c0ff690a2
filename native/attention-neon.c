// Attention by NEON.
#if defined(__aarch64__)
#include <arm_neon.h>
#include "tensor.h"

#define TARGET

typedef float32x4_t vec;
enum { lanes = 4, queries_at_once = 4, partner = 1 };

TARGET ALWAYS_INLINE vec load(const float *from) { return vld1q_f32(from); }
TARGET ALWAYS_INLINE void store(float *to, vec v) { vst1q_f32(to, v); }
TARGET ALWAYS_INLINE vec splat(float x) { return vdupq_n_f32(x); }
TARGET ALWAYS_INLINE vec multiply_add(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
TARGET ALWAYS_INLINE vec larger(vec a, vec b) { return vmaxq_f32(a, b); }
TARGET ALWAYS_INLINE vec from_halves(const void *from) { return vcvt_f32_f16(vld1_f16(from)); }

TARGET ALWAYS_INLINE void sums(vec a, vec b, vec c, vec d, float *to) {
  store(to, vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d)));
}

#include "attention.h"

ATTENTION_KERNEL(neon)
#endif
