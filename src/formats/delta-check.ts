import { InvalidFile, type ModelConfig, ownHeadName, type Parameter, parametersOf } from "../core/index.js";
import type { DeltaTensor } from "./delta-tensor.js";

/**
 * A variant's blueprint as its delta has it: with an output head of its own where one is listed, though the variant's may be its
 * embedding. That is so over a base whose head is not.
 */
export function deltaConfig(config: ModelConfig, tensors: ReadonlyMap<string, DeltaTensor>): ModelConfig {
  return tensors.has(ownHeadName) ? { ...config, tiedEmbeddings: false } : config;
}

/**
 * Holds the tensors of a delta against the configuration of its variant: each parameter is there, in order, with its
 * shape and in a form that its role allows, and the same number of extra rows wherever there is a vocabulary.
 *
 * @throws {InvalidFile} for the first that is not so
 */
export function checkDeltaTensors(path: string, config: ModelConfig, tensors: ReadonlyMap<string, DeltaTensor>): void {
  const names = [...tensors.keys()];
  const parameters = parametersOf(deltaConfig(config, tensors));
  let extraRows: number | undefined;
  for (const [index, parameter] of parameters.entries()) {
    const tensor = tensors.get(parameter.name);
    if (!tensor) throw wrong(path, parameter, "is missing, though config.json asks for it");
    if (names[index] !== parameter.name)
      throw wrong(path, parameter, `is out of order: "${names[index]}" is in its place`);
    const shape = `[${parameter.shape.join(", ")}]`;
    if (`[${tensor.shape.join(", ")}]` !== shape) {
      throw wrong(path, parameter, `has shape [${tensor.shape.join(", ")}], config.json asks for ${shape}`);
    }
    const rows = checkForm(path, parameter, tensor);
    if (parameter.kind !== "embedding" && parameter.kind !== "head") continue;
    extraRows ??= rows;
    if (rows !== extraRows) throw wrong(path, parameter, `has ${rows} extra rows, the embedding has ${extraRows}`);
  }
  const stranger = names[parameters.length];
  if (stranger !== undefined)
    throw new InvalidFile(path, `it has a tensor "${stranger}", which config.json does not ask for`);
}

/** Returns the tensor's number of extra rows. */
function checkForm(path: string, parameter: Parameter, tensor: DeltaTensor): number {
  if (tensor.kind === "absolute") {
    if (parameter.kind !== "vector") throw wrong(path, parameter, "has absolute values; only vectors may");
    return 0;
  }
  if (tensor.kind === "planes" && parameter.kind === "vector")
    throw wrong(path, parameter, "has planes or factors; only matrices may");
  if (tensor.kind === "exact" && parameter.kind === "vector")
    throw wrong(path, parameter, "has only an exact layer; vectors that changed have absolute values");
  const rows = tensor.extraRows?.count ?? 0;
  if (rows > 0 && parameter.kind === "linear") throw wrong(path, parameter, "has extra rows; only a vocabulary may");
  return rows;
}

function wrong(path: string, { name }: Parameter, problem: string): InvalidFile {
  return new InvalidFile(path, `tensor "${name}" ${problem}`, { details: { tensor: name } });
}
