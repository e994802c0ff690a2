import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import type { ModelConfig } from "../core/index.js";
import { blobOfExact, blobOfPlane, blobOfValue, type DeltaTensor } from "../formats/index.js";
import { printReport, type ReportedDelta, reportOf } from "./report.js";

const sha256 = createHash("sha256").digest("hex");

test("adds up layers, weighs their errors by the size of the difference, and counts every parameter", () => {
  const report = reportOf(
    delta([
      { name: "model.embed_tokens.weight", kind: "unchanged", dtype: "bf16", shape: [64, 128], extraRows: null },
      norm("model.layers.0.input_layernorm.weight"),
      matrix("model.layers.0.mlp.up_proj.weight", { norm: 3, error: 1 }),
      norm("model.layers.1.input_layernorm.weight"),
      matrix("model.layers.1.mlp.up_proj.weight", { norm: 4, error: 0 }),
    ]),
  );
  assert.equal(report.tunedBytes, (64 + 2 * 64 + 2) * 128 * 2);
  assert.deepEqual(report.groups, [
    line("model.embed_tokens.weight", "unchanged", 8192, 0, 0),
    line("model.layers.*.input_layernorm.weight", "absolute", 256, 512, 0, 1024),
    line("model.layers.*.mlp.up_proj.weight", "q1_0 × 2", 16384, 4608, 0.2),
  ]);
  assert.deepEqual(report.total, line("total", "unchanged, absolute, q1_0 × 2", 24832, 5120, 0.2, 5632));
  assert.deepEqual(report.layers, [
    line("embedding", "unchanged", 8192, 0, 0),
    line("0", "absolute, q1_0 × 2", 8320, 2560, 1 / 3, 2816),
    line("1", "absolute, q1_0 × 2", 8320, 2560, 0, 2816),
  ]);
  assert.equal(report.tensors.length, 5);
});

test("prints a line a group, or a line a tensor", () => {
  const report = reportOf(delta([0, 1, 2].map((layer) => norm(`model.layers.${layer}.input_layernorm.weight`))));
  assert.equal(
    printReport(report, { tensors: false }),
    [
      "tensor                                 form      parameters   disk  resident  bits/weight   error",
      "─────────────────────────────────────────────────────────────────────────────────────────────────",
      "model.layers.*.input_layernorm.weight  absolute         384  768 B   1.54 kB        16.00  0.0000",
      "─────────────────────────────────────────────────────────────────────────────────────────────────",
      "total                                                   384  768 B   1.54 kB        16.00  0.0000",
    ].join("\n"),
  );
  assert.match(printReport(report, { tensors: true }), /layers\.2\.input_layernorm\.weight/);
});

test("tells what lies on disk from what is resident: planes may be coded, exact layers stay there", () => {
  const name = "model.layers.0.mlp.up_proj.weight";
  const coded = matrix(name, { norm: 1, error: 1 });
  assert.ok(coded.kind === "planes");
  const [first, second] = coded.planes;
  const code = { byteLength: 700, dtype: "q1_0", shape: { rows: 64, cols: 128 } } as const;
  const layer = { sha256, blob: blobOfExact(name, 3000, sha256) };
  const planes = [{ ...first!, code }, second!];
  const { total } = reportOf(delta([{ ...coded, planes, exact: layer }]));
  assert.deepEqual([total.diskBytes, total.residentBytes], [700 + 1152 + 3000, 2 * 1152]);
  assert.equal(total.form, "q1_0 × 2 + exact");
});

function line(
  name: string,
  form: string,
  parameters: number,
  diskBytes: number,
  relativeError: number,
  residentBytes = diskBytes,
) {
  const bitsPerWeight = (diskBytes * 8) / parameters;
  return { name, form, parameters, diskBytes, residentBytes, bitsPerWeight, relativeError };
}

function norm(name: string): DeltaTensor {
  return { name, kind: "absolute", dtype: "bf16", shape: [128], value: blobOfValue(name, "bf16", [128], sha256) };
}

function matrix(name: string, sizes: { norm: number; error: number }): DeltaTensor {
  const planes = [0, 1].map((plane) => blobOfPlane(name, plane, "q1_0", { rows: 64, cols: 128 }, sha256));
  return {
    name,
    kind: "planes",
    dtype: "bf16",
    shape: [64, 128],
    planeDType: "q1_0",
    planes,
    factors: [],
    extraRows: null,
    ...sizes,
  };
}

const config: ModelConfig = {
  architecture: "llama",
  hiddenSize: 128,
  layers: 3,
  heads: 4,
  kvHeads: 2,
  headDim: 32,
  feedForward: 64,
  vocabSize: 64,
  contextLength: 64,
  rmsNormEps: 1e-6,
  ropeTheta: 10_000,
  ropeScaling: { kind: "none" },
  tiedEmbeddings: true,
  qkvBias: false,
  outputBias: false,
  mlpBias: false,
  qkNorm: false,
  slidingWindow: null,
};

/** As much of an artifact as a report looks at. */
function delta(tensors: readonly DeltaTensor[]): ReportedDelta {
  return {
    name: "clinc",
    codec: { name: "sign", options: { planes: 2 } },
    base: { name: "base", fingerprint: sha256 },
    config,
    tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])),
  };
}
