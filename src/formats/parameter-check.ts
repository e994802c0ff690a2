import {
  type DType,
  InvalidFile,
  type ModelConfig,
  type Parameter,
  parametersOf,
  UnsupportedModel,
} from "../core/index.js";

/** What is known of a stored tensor before it is accepted as a parameter. */
interface FoundTensor {
  readonly shape: readonly number[];
  readonly dtype: DType;
}

/**
 * Holds the tensors that were found against those the configuration asks for, and returns the latter in slot order.
 *
 * @throws {InvalidFile} for the first that is missing or has another shape
 * @throws {UnsupportedModel} for one that the architecture has no place for, or an element type that cannot serve
 */
export function checkParameters(
  path: string,
  config: ModelConfig,
  found: ReadonlyMap<string, FoundTensor>,
): readonly Parameter[] {
  const parameters = parametersOf(config);
  for (const parameter of parameters) {
    const tensor = found.get(parameter.name);
    if (!tensor) throw missing(path, config, parameter);
    checkShape(path, config, parameter, tensor.shape);
    checkType(path, parameter, tensor.dtype);
  }
  const expected = new Set(parameters.map(({ name }) => name));
  const stranger = [...found.keys()].find((name) => !expected.has(name));
  if (stranger !== undefined) {
    throw new UnsupportedModel(
      path,
      `it has a tensor "${stranger}", which a ${config.architecture} model of its configuration has not`,
    );
  }
  return parameters;
}

function missing(path: string, config: ModelConfig, { name, shape }: Parameter): InvalidFile {
  const problem = `tensor "${name}" is missing; a ${config.architecture} model of its configuration has one of shape [${shape.join(", ")}]`;
  return new InvalidFile(path, problem, { details: { tensor: name } });
}

function checkShape(
  path: string,
  config: ModelConfig,
  { name, shape, kind }: Parameter,
  seen: readonly number[],
): void {
  if (seen.length === shape.length && seen.every((extent, axis) => extent === shape[axis])) return;
  const differsInRows = kind === "embedding" && seen.length === 2 && seen[1] === shape[1];
  const problem = differsInRows
    ? `the configuration's vocab_size is ${config.vocabSize}, but tensor "${name}" has ${seen[0]} rows`
    : `tensor "${name}" has shape [${seen.join(", ")}], the configuration asks for [${shape.join(", ")}]`;
  throw new InvalidFile(path, problem, { details: { tensor: name } });
}

function checkType(path: string, { name, kind }: Parameter, dtype: DType): void {
  const isFloat = dtype === "f32" || dtype === "f16" || dtype === "bf16";
  const isInteger = dtype === "i32" || dtype === "i64";
  if (isInteger || (kind === "vector" && !isFloat)) {
    throw new UnsupportedModel(path, `tensor "${name}" has element type ${dtype}, which a ${kind} cannot have`);
  }
}
