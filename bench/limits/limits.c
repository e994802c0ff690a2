// What this machine can do at most, with so many threads at once.
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { threads_max = 256 };

struct share {
  const uint64_t *from;
  size_t count;
  uint64_t sum;
};

static double seconds(void) {
  struct timespec now;
  timespec_get(&now, TIME_UTC);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// Seconds that all threads together take for their shares.
static double timed(void *work(void *), struct share *shares, int threads) {
  pthread_t others[threads_max];
  const double start = seconds();
  for (int i = 1; i < threads; i++) pthread_create(&others[i], NULL, work, &shares[i]);
  work(&shares[0]);
  for (int i = 1; i < threads; i++) pthread_join(others[i], NULL);
  return seconds() - start;
}

static void *read_share(void *argument) {
  struct share *share = argument;
  uint64_t sums[16] = {0};  // as many as there are registers for
  for (size_t i = 0; i + 16 <= share->count; i += 16) {
    for (int lane = 0; lane < 16; lane++) sums[lane] ^= share->from[i + lane];
  }
  for (int lane = 0; lane < 16; lane++) share->sum += sums[lane];
  return NULL;
}

// Gigabytes a second from memory, the best of a few tries.
double kindred_read_rate(int threads) {
  const size_t count = (size_t)1 << 26, each = count / (size_t)threads;
  uint64_t *memory = malloc(count * sizeof *memory);
  if (!memory) return 0;
  memset(memory, 1, count * sizeof *memory);
  double best = 0;
  for (int try = 0; try < 5; try++) {
    struct share shares[threads_max];
    for (int i = 0; i < threads; i++) shares[i] = (struct share){memory + (size_t)i * each, each, 0};
    const double rate = (double)count * sizeof *memory / timed(read_share, shares, threads) / 1e9;
    if (rate > best) best = rate;
  }
  free(memory);
  return best;
}

#if defined(__x86_64__)
enum { rounds = 4000000, sums_at_once = 16, products_each = 64 };

#define TARGET __attribute__((target("avx512f,avx512vnni")))

TARGET static void *multiply_share(void *argument) {
  struct share *share = argument;
  const __m512i x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(5);
  __m512i a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x, m = x, n = x, o = x, p = x;
#define STEP(sum) sum = _mm512_dpbusd_epi32(sum, x, y)
#define KEEP(s, t, u, v) __asm__ volatile("" : "+v"(s), "+v"(t), "+v"(u), "+v"(v))
  for (int round = 0; round < rounds; round++) {
    STEP(a), STEP(b), STEP(c), STEP(d), STEP(e), STEP(f), STEP(g), STEP(h);
    STEP(i), STEP(j), STEP(k), STEP(l), STEP(m), STEP(n), STEP(o), STEP(p);
    KEEP(a, b, c, d);
    KEEP(e, f, g, h);
    KEEP(i, j, k, l);
    KEEP(m, n, o, p);
  }
  share->sum = (uint64_t)_mm512_reduce_add_epi32(a);
  return NULL;
}
#endif

// Billions of 8-bit products a second, added up; 0 where that is not known how to ask for.
double kindred_product_rate(int threads) {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx512vnni")) return 0;
  double best = 0;
  for (int try = 0; try < 3; try++) {
    struct share shares[threads_max] = {0};
    const double products = (double)rounds * sums_at_once * products_each * threads;
    const double rate = products / timed(multiply_share, shares, threads) / 1e9;
    if (rate > best) best = rate;
  }
  return best;
#else
  (void)threads;
  return 0;
#endif
}
