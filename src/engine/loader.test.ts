// Loads by a thread of their own, held against the same loads done here.

import assert from "node:assert/strict";
import { cp, mkdtemp, open, readFile, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { dtypes, KindredError, parametersOf, rowBytes } from "../core/index.js";
import { type Checkpoint, FileSource, openCheckpoint, type StoredBlob, storePlane } from "../formats/index.js";
import { Device, type Kernels, loadKernels } from "../ggml/index.js";
import { type DecoderState, DeltaPools, KvCache, Weights } from "../model/index.js";
import { type Placement, Residency } from "../storage/index.js";
import { alignUp } from "../util/index.js";
import { Loader } from "./loader.js";
import { capacityOf, poolLayout } from "./pool-layout.js";
import { memoryCheckpoint, randomWeights, smallConfig } from "./random-model.test.kit.js";
import { registered } from "./random-variant.test.kit.js";
import { loadVariant } from "./variant-load.js";
import { openVariants, type RegisteredVariant } from "./variants.js";

interface Home {
  readonly device: Device;
  readonly state: DecoderState;
  readonly variants: readonly RegisteredVariant[];
  readonly places: readonly Placement[];
  /** All that lies in the pools. */
  content(): readonly Uint8Array[];
  /** Fills the variants' slots with what no variant has. */
  soil(): void;
}

/** A base with pools for all of these, and a place in them for each. */
async function homeOf(
  checkpoint: Checkpoint,
  variants: readonly RegisteredVariant[],
  kernels?: Kernels,
): Promise<Home> {
  const device = Device.open({ kind: "cpu", threads: 1, kernels });
  const weights = await Weights.load(device, checkpoint, { dtype: "f32" });
  const { config } = checkpoint;
  const layout = poolLayout(config, variants, Number.POSITIVE_INFINITY)!;
  const pools = new DeltaPools(device, config, { ...layout, variants: variants.length });
  const cache = new KvCache(device, config, { contextLength: 16, regions: 1 });
  const residency = new Residency(capacityOf({ ...layout, variants: variants.length }));
  const places = variants.map(({ needs }, index) => residency.place(`${index}`, needs, new Set())!);
  const tensors = parametersOf({ ...config, tiedEmbeddings: !layout.ownHeads }).flatMap(({ name, kind }) => {
    if (kind === "vector") return [pools.vector(name)];
    const parts = [...layout.classes.keys()].flatMap((id) => pools.part(name, id) ?? []);
    const ofParts = parts.flatMap((part) => (part.kind === "plane" ? part.plane : [part.down, part.up, part.turned]));
    return [...ofParts, pools.extraRows(name)].filter((tensor) => tensor !== undefined);
  });
  return {
    device,
    state: { weights, cache, pools },
    variants,
    places,
    content: () =>
      tensors.map((tensor) => {
        const bytes = new Uint8Array(tensor.byteLength);
        tensor.read(bytes);
        return bytes;
      }),
    soil: () => {
      for (const tensor of tensors) tensor.write(new Uint8Array(tensor.byteLength).fill(0x5a));
      pools.copyBaseVectors(weights);
    },
  };
}

/** The same variant with its blobs in a file: some coded, one after the other with gaps. */
async function onDisk(t: TestContext, variant: RegisteredVariant): Promise<RegisteredVariant> {
  const folder = await mkdtemp(join(tmpdir(), "kindred-loader-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, "blobs");
  const { contents } = variant;
  const stored = new Map<string, StoredBlob>();
  const chunks: Uint8Array[] = [];
  await using source = await contents.reopen();
  let offset = 0;
  for (const name of blobNames(contents)) {
    const blob = contents.locate(name);
    const bytes = new Uint8Array(blob.byteLength);
    await source.read(blob.offset, bytes);
    const coded = codedPlane(variant, name, bytes);
    stored.set(name, { ...blob, offset, ...coded?.stored });
    chunks.push(coded?.bytes ?? bytes, new Uint8Array(offset % 100));
    offset += (coded?.bytes ?? bytes).length + (offset % 100);
  }
  await writeFile(path, Buffer.concat(chunks));
  await using file = await FileSource.open(path);
  const { stamp } = file;
  const reopen = () => FileSource.reopen(stamp);
  return { ...variant, contents: { ...contents, file: stamp, reopen, locate: (name) => stored.get(name)! } };
}

function blobNames({ tensors }: RegisteredVariant["contents"]): readonly string[] {
  return [...tensors.values()].flatMap((tensor) => {
    if (tensor.kind === "absolute") return [tensor.value];
    const extra = tensor.extraRows === null ? [] : [tensor.extraRows];
    if (tensor.kind === "unchanged") return extra;
    return [...extra, ...tensor.planes, ...tensor.factors.flatMap(({ down, up }) => [down, up])];
  });
}

/** Undefined for what is no sign plane, or takes no less as a code. */
function codedPlane({ classes }: RegisteredVariant, name: string, bytes: Uint8Array) {
  const found = /^(?<parameter>.*)\.plane(?<plane>\d)$/.exec(name)?.groups;
  if (!found || !classes.has(`q1_0.${found.plane}`)) return undefined;
  const parameters = parametersOf({ ...smallConfig(), tiedEmbeddings: false });
  const cols = parameters.find((parameter) => parameter.name === found.parameter)!.shape[1]!;
  const rows = bytes.length / rowBytes("q1_0", alignUp(cols, dtypes.q1_0.blockSize));
  const { blob, stored } = storePlane("w", 0, "q1_0", { rows, cols }, bytes);
  if (!blob.code) return undefined;
  const { dtype, shape } = blob.code;
  const form = { kind: "coded", dtype, shape } as const;
  return { bytes: stored, stored: { storedBytes: stored.length, sha256: blob.sha256, form } };
}

/** Of every form that there is. */
async function allForms(t: TestContext, kernels?: Kernels): Promise<Home> {
  const config = smallConfig();
  const base = randomWeights(config);
  const signs = { dtype: "q1_0", planes: 1, extraRows: 0 } as const;
  const forms = [
    { ...signs, seed: 1, planes: 2, extraRows: 3 },
    { ...signs, seed: 2, factors: [{ dtype: "q8_0", rank: 32, without: "mlp" }] },
    { ...signs, seed: 3, planes: 0, extraRows: -9, factors: [{ dtype: "f16", rank: 8 }] },
    { ...signs, seed: 5, extraRows: -9 },
    { ...signs, seed: 4, dtype: "tq1_0", untied: true, factors: [{ dtype: "q4_0", rank: 40 }] },
  ] as const;
  const variants: RegisteredVariant[] = [];
  for (const form of forms) variants.push(await onDisk(t, registered(config, base, form)));
  return homeOf(memoryCheckpoint(config, base), variants, kernels);
}

/** A place for two copies of an embedded variant, the second of them damaged. */
async function withDamage(t: TestContext): Promise<Home> {
  const folder = await mkdtemp(join(tmpdir(), "kindred-loader-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, "damaged");
  await cp("models/tiny/variants/clinc", path, { recursive: true });
  const file = await open(join(path, "delta.safetensors"), "r+");
  const { size } = await file.stat();
  await file.write(Uint8Array.of(0x33, 0x44), 0, 2, Math.floor(size / 2));
  await file.close();
  await utimes(join(path, "delta.safetensors"), 1000, 1000);
  await using checkpoint = await openCheckpoint("models/tiny/base");
  const sources = [path, "models/tiny/variants/clinc"].map((one) => ({ name: one, path: one }));
  const { variants } = await openVariants(sources, checkpoint);
  return await homeOf(checkpoint, [...variants.values()]);
}

const dataOf = async (loading: Promise<unknown>) => {
  const error = await loading.catch((reason: unknown) => reason);
  assert.ok(error instanceof KindredError);
  const { code, status, message, details } = error;
  return { code, status, message, details };
};

for (const how of ["decoded by kernels", "written there", "handed over"] as const) {
  test(`loads that are asked for at once leave what loads here leave, ${how}`, async (t) => {
    const { kernels } = how === "decoded by kernels" ? await loadKernels() : {};
    const isHost = how !== "handed over";
    const { device, state, variants, places, content, soil } = await allForms(t, kernels);
    using _ = device;
    soil();
    const bytes: number[] = [];
    for (const [index, variant] of variants.entries()) bytes.push(await loadVariant(variant, places[index]!, state));
    for (const [index, { contents }] of variants.entries()) {
      const sizes = blobNames(contents).map((name) => contents.locate(name).byteLength);
      assert.equal(
        bytes[index],
        sizes.reduce((sum, size) => sum + size),
      );
    }
    const expected = content();
    soil();
    const { pools } = state;
    assert.ok(pools);
    const elsewhere = {
      isHost,
      layout: pools.layout,
      part: (name: string, id: string) => pools.part(name, id),
      vector: (name: string) => pools.vector(name),
      extraRows: (name: string) => pools.extraRows(name),
    } as DeltaPools;
    using loader = new Loader(device, { ...state, pools: elsewhere });
    const loads = variants.map((variant, index) => loader.load(variant, places[index]!));
    assert.deepEqual(await Promise.all(loads), bytes);
    for (const [index, found] of content().entries()) assert.deepEqual(found, expected[index]);
  });
}

test("a damaged blob fails its load with the error that it has here, and no other load", async (t) => {
  const { device, state, variants, places } = await withDamage(t);
  using _ = device;
  using loader = new Loader(device, state);
  const [damaged, whole] = variants.map((variant, index) => loader.load(variant, places[index]!));
  const data = await dataOf(damaged!);
  assert.equal(data.code, "invalid_file");
  assert.match(data.message, /do not match their checksum/);
  assert.deepEqual(data, await dataOf(loadVariant(variants[0]!, places[0]!, state)));
  assert.ok((await whole!) > 1e6);
});

test("a variant whose file was written since with the same bytes is loaded; with others it fails and says what it is", async (t) => {
  const { device, state, variants, places } = await withDamage(t);
  using _ = device;
  using loader = new Loader(device, state);
  const [damaged, other] = variants as [RegisteredVariant, RegisteredVariant];
  const { path } = damaged.contents.file;
  const was = await readFile(path);
  await cp("models/tiny/variants/clinc/delta.safetensors", path);
  const load = () => loader.load(damaged, places[0]!);
  const [bytes, expected] = [await load(), await loader.load(other, places[1]!)];
  assert.equal(bytes, expected);
  await writeFile(path, was);
  assert.match((await dataOf(load())).message, /do not match their checksum/);
  const manifest = join(path, "..", "delta.json");
  const listed = await readFile(manifest, "utf8");
  await writeFile(manifest, `${listed} `);
  await utimes(path, 1, 1);
  const data = await dataOf(load());
  assert.equal(data.code, "file_changed");
  assert.match(data.message, /was changed since the server started: it was .* written .*, and is .* written 1970-/);
  assert.deepEqual(data, await dataOf(loadVariant(damaged, places[0]!, state)));
  await writeFile(manifest, listed);
  await truncate(path, 100);
  assert.match((await dataOf(load())).message, /and is 100 B, written/);
  await rm(path);
  assert.match((await dataOf(load())).message, /there is no such file/);
});

test("a device that is disposed during a load takes the loader with it, whenever that is", async (t) => {
  for (const waitMs of [0, 1, 40, 60, 62, 64]) {
    const { device, state, variants, places } = await withDamage(t);
    const loader = new Loader(device, state);
    for (let i = 0; i < 5; i++) loader.load(variants[1]!, places[1]!).catch((error) => assert.fail(error));
    await sleep(waitMs);
    device[Symbol.dispose]();
    device[Symbol.dispose]();
    loader[Symbol.dispose]();
  }
});
