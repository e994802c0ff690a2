import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import {
  type DeltaBlob,
  type DeltaTensor,
  openDelta,
  type PlanesTensor,
  planeShape,
  storePlane,
  writeDelta,
  writeFolder,
} from "../src/formats/index.js";
import { uniformAt } from "../src/util/index.js";

/** A variant of a crowd, and the real one that it was made of. */
export interface CrowdMember {
  readonly name: string;
  readonly path: string;
  readonly source: string;
}

/**
 * Makes `count` variants of a few real ones, each an artifact of its own under `folder`: two rows of every plane change places, so that no
 * two have the same bytes, while what they cost and how well they compress stays. Those that are there already are kept.
 */
export async function makeCrowd(sources: readonly string[], count: number, folder: string): Promise<CrowdMember[]> {
  await mkdir(folder, { recursive: true });
  const members = Array.from({ length: count }, (_, index) => {
    const source = sources[index % sources.length]!;
    const name = `${path.basename(source)}-${String(index).padStart(3, "0")}`;
    return { name, path: path.join(folder, name), source };
  });
  for (const [seed, member] of members.entries()) if (!existsSync(member.path)) await writePerturbed(member, seed);
  return members;
}

async function writePerturbed({ source, path: out }: CrowdMember, seed: number): Promise<void> {
  await using delta = await openDelta(source);
  const read = async (blob: DeltaBlob): Promise<Uint8Array> => {
    const bytes = new Uint8Array(blob.byteLength);
    await delta.readBlob(blob, bytes);
    return bytes;
  };
  const planes = new Map<string, Uint8Array>();
  const tensors = new Map<string, DeltaTensor>();
  for (const { exact: _, ...tensor } of delta.tensors.values()) {
    tensors.set(
      tensor.name,
      tensor.kind === "planes" ? await perturb(tensor, seed, read, planes) : (tensor as DeltaTensor),
    );
  }
  await writeFolder(out, (folder) =>
    writeDelta(folder, {
      codec: delta.codec,
      base: delta.base,
      tensors,
      configJson: delta.configJson,
      text: delta.text,
      readBlob: async (blob) => planes.get(blob.name) ?? (await read(blob)),
    }),
  );
}

/** The tensor with two rows of each plane in each other's place. @param stored gets the planes' new bytes */
async function perturb(
  tensor: PlanesTensor,
  seed: number,
  read: (blob: DeltaBlob) => Promise<Uint8Array>,
  stored: Map<string, Uint8Array>,
): Promise<PlanesTensor> {
  const shape = planeShape(tensor);
  const planes: DeltaBlob[] = [];
  for (const [index, blob] of tensor.planes.entries()) {
    const bytes = await read(blob);
    const rowBytes = bytes.length / shape.rows;
    const from = Math.floor(uniformAt(seed, 2 * stored.size) * shape.rows);
    const to = (from + 1 + Math.floor(uniformAt(seed, 2 * stored.size + 1) * (shape.rows - 1))) % shape.rows;
    const row = bytes.slice(from * rowBytes, (from + 1) * rowBytes);
    bytes.copyWithin(from * rowBytes, to * rowBytes, (to + 1) * rowBytes);
    bytes.set(row, to * rowBytes);
    const plane = storePlane(tensor.name, index, tensor.planeDType!, shape, bytes);
    stored.set(plane.blob.name, plane.stored);
    planes.push(plane.blob);
  }
  return { ...tensor, planes };
}
