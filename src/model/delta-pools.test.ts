import assert from "node:assert/strict";
import { after, test } from "node:test";
import { type SlotClass, slotClassId } from "../core/index.js";
import { Device, Tensor, toFloat32 } from "../ggml/index.js";
import { type ClassLayout, DeltaPools, type PoolLayout } from "./delta-pools.js";
import { KvCache } from "./kv-cache.js";
import { smallCheckpoint, smallModel } from "./small-checkpoint.test.kit.js";
import { Weights } from "./weights.js";

const device = Device.open({ kind: "cpu", threads: 1 });
after(() => device[Symbol.dispose]());

const embedding = "model.embed_tokens.weight";
const down = "model.layers.0.mlp.down_proj.weight";
const query = "model.layers.0.self_attn.q_proj.weight";
const ofClass = (slotClass: SlotClass, slots: number, ...matrices: string[]): [string, ClassLayout] => [
  slotClassId(slotClass),
  { slotClass, slots, matrices: new Set(matrices) },
];
const layout: PoolLayout = {
  classes: new Map([
    ofClass({ kind: "plane", dtype: "q1_0", plane: 1 }, 3, query, down, "lm_head.weight"),
    ofClass({ kind: "plane", dtype: "q4_0", plane: 1 }, 2, down),
    ofClass({ kind: "factors", dtype: "q8_0", rank: 20 }, 2, embedding, down),
  ]),
  variants: 4,
  extraRows: 5,
  ownHeads: true,
};

function extentsOf(pools: DeltaPools, name: string, classId: string) {
  const part = pools.part(name, classId);
  return (
    part &&
    Object.fromEntries(Object.entries(part).map(([role, pool]) => [role, pool instanceof Tensor ? pool.extents : pool]))
  );
}

test("a pool holds whole blocks: rows are filled up to them", () => {
  using pools = new DeltaPools(device, smallModel, layout);
  assert.deepEqual(extentsOf(pools, query, "q1_0.1"), { kind: "plane", plane: [128, 64, 3, 1] });
  assert.deepEqual(extentsOf(pools, down, "q1_0.1"), { kind: "plane", plane: [128, 64, 3, 1] });
  assert.deepEqual(extentsOf(pools, down, "q4_0.1"), { kind: "plane", plane: [64, 64, 2, 1] });
  assert.equal(pools.part(query, "q4_0.1"), undefined, "no variant has planes of four bits there");
  assert.equal(pools.part(embedding, "q1_0.1"), undefined);
});

test("factors have two pools, and in an embedding what rows are taken from", () => {
  using pools = new DeltaPools(device, smallModel, layout);
  const up = [32, 64, 2, 1];
  assert.deepEqual(extentsOf(pools, down, "q8_0x20"), {
    kind: "factors",
    down: [64, 20, 2, 1],
    up,
    turned: undefined,
  });
  const rows = { up: [32, 48, 2, 1], turned: [32, 64, 2, 1] };
  assert.deepEqual(extentsOf(pools, embedding, "q8_0x20"), { kind: "factors", down: undefined, ...rows });
  using tied = new DeltaPools(device, { ...smallModel, tiedEmbeddings: true }, layout);
  assert.deepEqual(extentsOf(tied, embedding, "q8_0x20"), { kind: "factors", down: [64, 20, 2, 1], ...rows });
});

test("every vector has a row for the base and one for each variant; words beyond the vocabulary have room for each", () => {
  using pools = new DeltaPools(device, smallModel, layout);
  assert.deepEqual(pools.vector("model.norm.weight").extents, [64, 5, 1, 1]);
  assert.deepEqual(pools.vector("model.layers.0.self_attn.k_proj.bias").extents, [32, 5, 1, 1]);
  assert.deepEqual(pools.extraRows("model.embed_tokens.weight")!.extents, [64, 5, 4, 1]);
  assert.deepEqual(pools.extraRows("lm_head.weight")!.extents, [64, 5, 4, 1]);
  assert.equal(pools.extraRows(query), undefined);
  using none = new DeltaPools(device, smallModel, { ...layout, extraRows: 0 });
  assert.equal(none.extraRows("lm_head.weight"), undefined);
});

test("pools begin as zero weights, and the base's vectors as its own", async () => {
  using pools = new DeltaPools(device, smallModel, layout);
  using weights = await Weights.load(device, smallCheckpoint(), { dtype: "f32" });
  pools.copyBaseVectors(weights);
  const part = pools.part(down, "q1_0.1");
  assert.ok(part?.kind === "plane");
  const pool = part.plane;
  for (let slot = 0; slot < 3; slot++) {
    const bytes = new Uint8Array(pool.strides[1] * 64);
    pool.read(bytes, slot * pool.strides[2]);
    assert.ok(toFloat32("q1_0", bytes, 128 * 64).every((value) => value === 0));
  }

  const [own, row] = [new Float32Array(64), new Float32Array(64)];
  weights.get("model.norm.weight").read(own);
  const vector = pools.vector("model.norm.weight");
  for (let index = 0; index < 5; index++) {
    vector.read(row, index * vector.strides[1]);
    assert.deepEqual(row, index === 0 ? own : new Float32Array(64));
  }
});

test("a cache has cells for every region and layer, all zero at first", () => {
  using cache = new KvCache(device, { ...smallModel, layers: 2 }, { contextLength: 16, regions: 3, dtype: "f32" });
  assert.deepEqual(cache.keys(1).extents, [32, 48, 1, 1]);
  assert.deepEqual(cache.values(0).extents, [32, 48, 1, 1]);
  assert.ok(cache.byteLength >= 2 * 2 * 32 * 48 * 4);
  const values = new Float32Array(32 * 48);
  cache.values(1).read(values);
  assert.ok(values.every((value) => value === 0));
});
