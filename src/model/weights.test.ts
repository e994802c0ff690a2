import assert from "node:assert/strict";
import { after, test } from "node:test";
import { type DType, type Parameter, parametersOf } from "../core/index.js";
import { Device, toFloat32 } from "../ggml/index.js";
import { smallCheckpoint, smallModel, valueAt } from "./small-checkpoint.test.kit.js";
import { type BaseDType, type LoadProgress, storageDType, Weights } from "./weights.js";

const device = Device.open({ kind: "cpu", threads: 1 });
after(() => device[Symbol.dispose]());

/** Every parameter's values as they lie on the device, in slot order. */
function valuesOf(weights: Weights): [name: string, dtype: DType, values: Float32Array][] {
  return parametersOf(weights.config).map(({ name }) => {
    const tensor = weights.get(name);
    const bytes = new Uint8Array(tensor.byteLength);
    tensor.read(bytes);
    return [name, tensor.dtype, toFloat32(tensor.dtype, bytes, tensor.elements)];
  });
}

for (const [storedAs, asked] of [
  ["f32", "f32"],
  ["bf16", "bf16"],
  ["f16", "f32"],
  ["f32", "f16"],
  ["bf16", "q8_0"],
  ["f16", "q5_0"],
] as const) {
  test(`a checkpoint in ${storedAs} held as ${asked} keeps its values`, async () => {
    using weights = await Weights.load(device, smallCheckpoint(storedAs), { dtype: asked });
    for (const [index, [name, , values]] of valuesOf(weights).entries()) {
      const tolerance = asked === "q5_0" ? 0.035 : asked === "q8_0" ? 0.005 : 0.002;
      values.forEach((value, at) => {
        assert.ok(Math.abs(value - valueAt(index, at)) <= tolerance, `${name}[${at}] is ${value}`);
      });
    }
  });
}

test("matrices lie with their inputs along the fastest dimension", async () => {
  using weights = await Weights.load(device, smallCheckpoint(), { dtype: "f32" });
  assert.deepEqual(weights.get("model.layers.0.mlp.gate_proj.weight").extents, [64, 40, 1, 1]);
  assert.deepEqual(weights.get("model.norm.weight").extents, [64, 1, 1, 1]);
  assert.equal(weights.find("model.layers.1.mlp.gate_proj.weight"), undefined);
  assert.throws(() => weights.get("model.layers.1.mlp.gate_proj.weight"), /the model has no parameter/);
});

test("norms and biases are f32, and rows that do not fill blocks stay in 16 bits", async () => {
  using weights = await Weights.load(device, smallCheckpoint("bf16"), { dtype: "q8_0" });
  const dtypes = new Map(valuesOf(weights).map(([name, dtype]) => [name.replace("model.layers.0.", ""), dtype]));
  assert.equal(dtypes.get("input_layernorm.weight"), "f32");
  assert.equal(dtypes.get("self_attn.q_proj.bias"), "f32");
  assert.equal(dtypes.get("self_attn.q_proj.weight"), "q8_0");
  assert.equal(dtypes.get("mlp.down_proj.weight"), "bf16", "its rows have 40 elements");
});

const matrix = (kind: Parameter["kind"], columns = 256): Parameter => ({ name: "w", shape: [8, columns], kind });
const placements: readonly [string, Parameter, DType, BaseDType, number, DType][] = [
  ["a small checkpoint in bf16 stays so on auto", matrix("linear"), "bf16", "auto", 1e8, "bf16"],
  ["a small checkpoint in f32 is halved on auto", matrix("linear"), "f32", "auto", 1e8, "f16"],
  ["a large checkpoint goes to eight bits on auto", matrix("linear"), "bf16", "auto", 7e9, "q8_0"],
  ["a quantised checkpoint stays as it is on auto, small or large", matrix("linear"), "q4_k", "auto", 1e8, "q4_k"],
  ["linears take four bits when asked", matrix("linear"), "bf16", "q4_0", 1e8, "q4_0"],
  ["embeddings do not", matrix("embedding"), "bf16", "q4_0", 1e8, "q8_0"],
  ["nor does the head", matrix("head"), "bf16", "q4_k", 1e8, "q8_0"],
  ["rows of 32 do for q4_0", matrix("linear", 96), "bf16", "q4_0", 1e8, "q4_0"],
  ["but not for q4_k", matrix("linear", 96), "bf16", "q4_k", 1e8, "bf16"],
  ["a vector is f32 always", { name: "n", shape: [8], kind: "vector" }, "bf16", "q8_0", 7e9, "f32"],
];

for (const [title, parameter, storedAs, asked, modelParameters, expected] of placements) {
  test(title, () => assert.equal(storageDType(parameter, { storedAs, asked, modelParameters }), expected));
}

test("progress goes from nothing to all bytes of the checkpoint", async () => {
  const seen: LoadProgress[] = [];
  using _ = await Weights.load(device, smallCheckpoint("bf16"), {
    dtype: "f32",
    onProgress: (progress) => seen.push(progress),
  });
  const total = [...smallCheckpoint("bf16").tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  assert.equal(seen.length, parametersOf(smallModel).length);
  assert.ok(
    seen.every(
      ({ bytesTotal }, at) => bytesTotal === total && (at === 0 || seen[at]!.bytesDone > seen[at - 1]!.bytesDone),
    ),
  );
  assert.equal(seen.at(-1)!.bytesDone, total);
});

test("four-bit linears are multiplied from interleaved buffers where the CPU has them", async (t) => {
  if (device.repackBufferType === undefined) return t.skip("this CPU's library has no interleaved buffers");
  using weights = await Weights.load(device, smallCheckpoint(), { dtype: "q4_0" });
  assert.equal(weights.get("model.layers.0.self_attn.q_proj.weight").dtype, "q4_0");
  assert.equal(weights.get("model.embed_tokens.weight").dtype, "q8_0", "rows are looked up there");
});

/** Runs `act` and counts what the device was made responsible for and still is. */
async function leftOpen(act: () => Promise<unknown>): Promise<number> {
  let open = 0;
  const adopt = device.adopt.bind(device);
  device.adopt = (owned) => {
    open += 1;
    const adoption = adopt(owned);
    return {
      release: () => {
        open -= 1;
        adoption.release();
      },
    };
  };
  try {
    await act();
    return open;
  } finally {
    device.adopt = adopt;
  }
}

test("a read that fails half-way frees everything and says why", async () => {
  const failing = smallCheckpoint("f32", smallModel, (name) => {
    if (name.includes("mlp.up_proj")) throw new Error("disk on fire");
  });
  const open = await leftOpen(() => assert.rejects(Weights.load(device, failing, { dtype: "q4_0" }), /disk on fire/));
  assert.equal(open, 0);
});

test("loading stops at a signal, and frees everything", async () => {
  const stop = new AbortController();
  const reads: string[] = [];
  const checkpoint = smallCheckpoint("f32", smallModel, (name) => {
    reads.push(name);
    if (reads.length === 3) stop.abort(new Error("changed my mind"));
  });
  const open = await leftOpen(() =>
    assert.rejects(Weights.load(device, checkpoint, { signal: stop.signal }), /changed my mind/),
  );
  assert.deepEqual([open, reads.length], [0, 3]);
});

test("scaled frequencies lie beside the weights, and only where they are scaled", async () => {
  const ropeScaling = {
    kind: "llama3",
    factor: 8,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalContextLength: 64,
  } as const;
  using scaled = await Weights.load(device, smallCheckpoint("f32", { ...smallModel, ropeScaling }), { dtype: "f32" });
  using plain = await Weights.load(device, smallCheckpoint(), { dtype: "f32" });
  assert.equal(String(scaled.ropeFactors), "rope_factors: f32[8, 1, 1, 1]");
  assert.equal(plain.ropeFactors, undefined);
});
