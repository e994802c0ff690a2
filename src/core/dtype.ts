/**
 * Element types of tensors, by ggml's names. `id` is ggml's (and GGUF's) number; a row of `n` elements takes
 * `n / blockSize * blockBytes` bytes and `n` must be a multiple of `blockSize`.
 */
export const dtypes = {
  f32: { id: 0, blockSize: 1, blockBytes: 4 },
  f16: { id: 1, blockSize: 1, blockBytes: 2 },
  bf16: { id: 30, blockSize: 1, blockBytes: 2 },
  q4_0: { id: 2, blockSize: 32, blockBytes: 18 },
  q4_1: { id: 3, blockSize: 32, blockBytes: 20 },
  q5_0: { id: 6, blockSize: 32, blockBytes: 22 },
  q5_1: { id: 7, blockSize: 32, blockBytes: 24 },
  q8_0: { id: 8, blockSize: 32, blockBytes: 34 },
  q2_k: { id: 10, blockSize: 256, blockBytes: 84 },
  q3_k: { id: 11, blockSize: 256, blockBytes: 110 },
  q4_k: { id: 12, blockSize: 256, blockBytes: 144 },
  q5_k: { id: 13, blockSize: 256, blockBytes: 176 },
  q6_k: { id: 14, blockSize: 256, blockBytes: 210 },
  iq4_nl: { id: 20, blockSize: 32, blockBytes: 18 },
  iq4_xs: { id: 23, blockSize: 256, blockBytes: 136 },
  i32: { id: 26, blockSize: 1, blockBytes: 4 },
  i64: { id: 27, blockSize: 1, blockBytes: 8 },
  tq1_0: { id: 34, blockSize: 256, blockBytes: 54 },
  tq2_0: { id: 35, blockSize: 256, blockBytes: 66 },
  q1_0: { id: 41, blockSize: 128, blockBytes: 18 },
} as const;

export type DType = keyof typeof dtypes;

/** Bytes of one row of `elements`, which must fill whole blocks. */
export function rowBytes(dtype: DType, elements: number): number {
  const { blockSize, blockBytes } = dtypes[dtype];
  if (elements % blockSize !== 0)
    throw new RangeError(`A row of ${elements} does not fill ${dtype} blocks of ${blockSize}`);
  return (elements / blockSize) * blockBytes;
}

/** Bytes of a row-major tensor whose last dimension is the fastest. */
export function tensorBytes(dtype: DType, shape: readonly number[]): number {
  const row = shape.at(-1) ?? 1;
  return elementCount(shape) === 0 ? 0 : rowBytes(dtype, row) * (elementCount(shape) / row);
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}
