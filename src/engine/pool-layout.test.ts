import assert from "node:assert/strict";
import { test } from "node:test";
import { embeddingName, ownHeadName, type SlotClass, slotClassId } from "../core/index.js";
import { Device } from "../ggml/index.js";
import { DeltaPools, poolSizes, poolSpecs, variantBytes } from "../model/index.js";
import { capacityOf, pagedPoolLayout, poolLayout } from "./pool-layout.js";
import { smallConfig } from "./random-model.test.kit.js";

const config = smallConfig();
const q = "model.layers.0.self_attn.q_proj.weight"; // 32 × 32
const up = "model.layers.0.mlp.up_proj.weight"; // 64 × 32

const first: SlotClass = { kind: "plane", dtype: "q1_0", plane: 1 };
const second: SlotClass = { kind: "plane", dtype: "q1_0", plane: 2 };
const lora: SlotClass = { kind: "factors", dtype: "f16", rank: 8 };

const variant = (...parts: readonly (readonly [SlotClass, ...string[]])[]) => ({
  classes: new Map(
    parts.map(([slotClass, ...matrices]) => [slotClassId(slotClass), { slotClass, matrices: new Set(matrices) }]),
  ),
  vocabSize: config.vocabSize,
  untied: false,
});
const layoutOf = (variants: readonly ReturnType<typeof variant>[], bytes = Number.POSITIVE_INFINITY) =>
  poolLayout(config, variants, bytes)!;
const slots = (layout: ReturnType<typeof layoutOf>) => Object.fromEntries(capacityOf(layout).slots);

test("without variants there are no pools", () => {
  assert.equal(poolLayout(config, [], 1e9), undefined);
  assert.deepEqual(capacityOf(undefined), { slots: new Map(), variants: 0 });
});

test("a class has pools only where some variant has such a part, and a slot for each variant that has it", () => {
  const layout = layoutOf([variant([first, q, up]), variant([first, q, up], [second, q]), variant([lora, up])]);
  assert.deepEqual(slots(layout), { "q1_0.1": 2, "q1_0.2": 1, f16x8: 1 });
  assert.deepEqual([...layout.classes.get("q1_0.2")!.matrices], [q]);
  assert.equal(layout.variants, 3);
});

test("a variant takes the memory of its parts in whole pages, and no zeros for others", () => {
  const sizesOf = (page: number, ...variants: readonly ReturnType<typeof variant>[]) =>
    poolSizes(poolSpecs(config, layoutOf(variants)), page);
  const bytes = (own: ReturnType<typeof variant>) => [...sizesOf(32, own).slotBytes.values()];
  assert.deepEqual(bytes(variant([first, q])), [32 * 18]);
  assert.deepEqual(bytes(variant([first, q, up])), [(32 + 64) * 18]);
  assert.deepEqual(bytes(variant([lora, up])), [2 * (8 * 32 + 64 * 8)]);
  const sizes = sizesOf(4096, variant([first, q, up], [second, q]));
  assert.deepEqual([...sizes.slotBytes.values()], [4096, 4096]);
  assert.equal(variantBytes(sizes, ["q1_0.1"]), 2 * 4096, "with its vectors");
  assert.equal(sizes.fixedBytes, 4096, "the base's vectors");
  const embedded = sizesOf(64, variant([first, embeddingName]));
  assert.equal(embedded.slotBytes.get("q1_0.1"), 96 * 18);
  assert.equal(sizesOf(100, variant([first, embeddingName])).slotBytes.get("q1_0.1"), 1800);
});

test("where slots share memory there are as many places as could have all of it", () => {
  const many = Array.from({ length: 50 }, () => variant([first, q]));
  const layout = pagedPoolLayout(config, many, { budgetBytes: 100_000, page: 4096 })!;
  assert.deepEqual([layout.variants, layout.classes.get("q1_0.1")!.slots], [12, 12]);
  assert.equal(pagedPoolLayout(config, many, { budgetBytes: 1e9, page: 4096 })!.variants, 50);
  assert.equal(pagedPoolLayout(config, many, { budgetBytes: 0, page: 4096 })!.variants, 1);
});

test("embedding and head that a variant untied have pools of their own, as many as there are such variants", () => {
  using device = Device.open({ kind: "cpu", threads: 1 });
  const apart: SlotClass = { ...first, untied: true };
  const untied = { ...variant([first, q], [apart, embeddingName, ownHeadName]), untied: true };
  const tied = variant([first, q, embeddingName]);
  const layout = layoutOf([untied, tied, tied]);
  assert.deepEqual(slots(layout), { "q1_0.1": 3, "q1_0.1 untied": 1 });
  assert.deepEqual([layout.ownHeads, layoutOf([tied]).ownHeads], [true, false]);
  using pools = new DeltaPools(device, config, layout);
  const extentsOf = (part: ReturnType<typeof pools.part>) => part?.kind === "plane" && part.plane.extents;
  assert.deepEqual(extentsOf(pools.headPart("q1_0.1")), [128, 96, 3, 1], "the embedding's");
  assert.deepEqual(extentsOf(pools.headPart("q1_0.1 untied")), [128, 96, 1, 1]);
  assert.equal(pools.part(ownHeadName, "q1_0.1"), undefined);
});

test("short memory is divided in the proportion of use, and no class goes without", () => {
  const many = [
    ...Array.from({ length: 8 }, () => variant([first, q])),
    ...Array.from({ length: 2 }, () => variant([lora, q])),
  ];
  const { rowBytes } = poolSizes(poolSpecs(config, layoutOf(many)), 1);
  const all = 8 * 32 * 18 + 2 * 2 * (8 * 32 + 32 * 8) + 10 * rowBytes;
  assert.deepEqual(slots(layoutOf(many, all)), { "q1_0.1": 8, f16x8: 2 });
  assert.deepEqual(slots(layoutOf(many, all / 2)), { "q1_0.1": 4, f16x8: 1 });
  assert.deepEqual(slots(layoutOf(many, 0)), { "q1_0.1": 1, f16x8: 1 });
  assert.equal(layoutOf(many, 0).variants, 2);
});
