import { InvalidRequest } from "../core/index.js";
import { isRecord } from "../util/index.js";

/** The numbers that a field may take, both ends included. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

/**
 * One JSON object of a request, read field by field. Null reads like absent, as OpenAI's own clients send it.
 *
 * Every reader throws {@link InvalidRequest} naming the field, with the path that leads to it.
 */
export class Fields {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #path: string;

  /**
   * @param path how errors name this object, such as `messages[2]`; empty for the body itself
   * @throws {InvalidRequest} if `value` is not an object
   */
  constructor(value: unknown, path = "") {
    if (!isRecord(value)) {
      throw invalid(path === "" ? null : path, `${path || "the body"}: expected a JSON object, got ${excerpt(value)}`);
    }
    this.#values = value;
    this.#path = path;
  }

  /** How an error names this field: its name behind the path of the object. */
  path(name: string): string {
    return this.#path === "" ? name : `${this.#path}.${name}`;
  }

  names(): string[] {
    return Object.keys(this.#values);
  }

  /** The field as it was sent; null and absent are undefined. */
  value(name: string): unknown {
    return Object.hasOwn(this.#values, name) ? (this.#values[name] ?? undefined) : undefined;
  }

  number(name: string, { min, max }: Range): number | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (typeof value === "number" && value >= min && value <= max) return value;
    throw this.unexpected(name, `a number from ${min} to ${max}`);
  }

  integer(name: string, { min, max }: Range): number | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) return value;
    throw this.unexpected(
      name,
      max === Number.MAX_SAFE_INTEGER ? `an integer ≥ ${min}` : `an integer from ${min} to ${max}`,
    );
  }

  boolean(name: string): boolean | undefined {
    const value = this.value(name);
    if (value === undefined || typeof value === "boolean") return value;
    throw this.unexpected(name, "true or false");
  }

  object(name: string): Fields | undefined {
    const value = this.value(name);
    return value === undefined ? undefined : new Fields(value, this.path(name));
  }

  /** The error for a field that holds something else than `expected`, or nothing at all. */
  unexpected(name: string, expected: string): InvalidRequest {
    const path = this.path(name);
    const value = this.value(name);
    return value === undefined
      ? new InvalidRequest(
          path,
          `${path}: expected ${expected}, but the field is missing`,
          "missing_required_parameter",
        )
      : invalid(path, `${path}: expected ${expected}, got ${excerpt(value)}`);
  }
}

/** The error for a field whose value is not one that it may take. */
export function invalid(param: string | null, message: string): InvalidRequest {
  return new InvalidRequest(param, message);
}

/** A value as JSON, cut to a length that suits an error message. */
export function excerpt(value: unknown): string {
  const json = JSON.stringify(value) ?? "nothing";
  return json.length <= 80 ? json : `${json.slice(0, 79)}…`;
}
