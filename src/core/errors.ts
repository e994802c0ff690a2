import { formatBytes } from "../util/index.js";

/** What an error says to programs beside its sentence; plain data, so that it crosses processes and JSON. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null>>;

/**
 * An error that the world may cause and a caller may handle. The message says what was tried, what was seen and what
 * was expected; `code` is for programs and never changes meaning; `status` is the HTTP status that fits it.
 */
export class KindredError extends Error {
  readonly code: string;
  readonly status: number;
  readonly details: ErrorDetails;

  constructor(
    code: string,
    status: number,
    message: string,
    options: { details?: ErrorDetails; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.status = status;
    this.details = options.details ?? {};
  }
}

type Options = ConstructorParameters<typeof KindredError>[3];

/** A file or folder whose bytes are not what its format promises: truncated, corrupt, or of another kind. */
export class InvalidFile extends KindredError {
  constructor(path: string, problem: string, options: Options = {}) {
    super("invalid_file", 422, `Cannot read ${path}: ${problem}`, {
      ...options,
      details: { path, ...options?.details },
    });
  }
}

/** A model that is well-formed but not one that this version computes. */
export class UnsupportedModel extends KindredError {
  constructor(path: string, problem: string) {
    super("unsupported_model", 422, `Cannot load the model in ${path}: ${problem}`, { details: { path } });
  }
}

/** A delta met a base that it was not made against. */
export class BaseMismatch extends KindredError {
  constructor(
    delta: string,
    expected: { name: string; fingerprint: string },
    actual: { name: string; fingerprint: string },
  ) {
    super(
      "base_mismatch",
      409,
      `Cannot apply delta ${delta}: it was made against base "${expected.name}" (sha256 ${expected.fingerprint.slice(0, 12)}), ` +
        `the loaded base is "${actual.name}" (sha256 ${actual.fingerprint.slice(0, 12)})`,
      { details: { delta, expected: expected.fingerprint, actual: actual.fingerprint } },
    );
  }
}

/** A request that cannot be served as it stands; `param` names the field. */
export class InvalidRequest extends KindredError {
  readonly param: string | null;

  constructor(param: string | null, message: string, code = "invalid_value") {
    super(code, 400, message, { details: { param } });
    this.param = param;
  }
}

/** No variant and no base of that name. */
export class ModelNotFound extends KindredError {
  constructor(model: string) {
    super("model_not_found", 404, `The model "${model}" does not exist; GET /v1/models lists what this server has`, {
      details: { model },
    });
  }
}

/** Every place and the queue are taken. */
export class Overloaded extends KindredError {
  readonly retryAfterSeconds: number;

  constructor(message: string, retryAfterSeconds: number) {
    super("overloaded", 429, message, { details: { retryAfterSeconds } });
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** The parts of a memory budget, in bytes; what a part is called is for people. */
export interface MemoryNeeds {
  readonly budgetBytes: number;
  readonly parts: Readonly<Record<string, number>>;
}

/** Something takes more memory than the whole budget has, whatever else gives way. */
export class InsufficientMemory extends KindredError {
  constructor(what: string, { budgetBytes, parts }: MemoryNeeds) {
    const needed = Object.values(parts).reduce((sum, bytes) => sum + bytes, 0);
    const list = Object.entries(parts).map(([part, bytes]) => `${formatBytes(bytes)} for ${part}`);
    super(
      "insufficient_memory",
      507,
      `Cannot ${what} within --memory ${formatBytes(budgetBytes)}: it takes ${formatBytes(needed)}, ${list.join(", ")}`,
      { details: { budgetBytes, neededBytes: needed } },
    );
  }
}

/** A request's deadline came before its end. */
export class DeadlineExceeded extends KindredError {
  /** @param generatedTokens how far its answer had come */
  constructor(generatedTokens: number) {
    const reached = generatedTokens === 0 ? "before its answer began" : `${generatedTokens} tokens into its answer`;
    super("deadline_exceeded", 504, `The request's timeout ended ${reached}`, { details: { generatedTokens } });
  }
}

/** The native library is missing, is another version than this code was written for, or failed inside. */
export class NativeError extends KindredError {
  constructor(message: string, options: Options = {}) {
    super("native_error", 500, message, options);
  }
}

/** What of an error may cross a process boundary as data. */
export interface ErrorData {
  readonly code: string;
  readonly status: number;
  readonly message: string;
  readonly details: ErrorDetails;
}

/** Error → data; anything that is not a {@link KindredError} becomes `internal_error` with its message. */
export function errorToData(error: unknown): ErrorData {
  if (error instanceof KindredError) {
    return { code: error.code, status: error.status, message: error.message, details: error.details };
  }
  return {
    code: "internal_error",
    status: 500,
    message: error instanceof Error ? error.message : String(error),
    details: {},
  };
}

/** Data → error; the inverse of {@link errorToData} up to the class, which no caller past the boundary needs. */
export function errorFromData(data: ErrorData): KindredError {
  return new KindredError(data.code, data.status, data.message, { details: data.details });
}
