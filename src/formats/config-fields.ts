import { InvalidFile } from "../core/index.js";
import { isRecord } from "../util/index.js";

/** Bounds and default of a {@link ConfigFields.count}. */
export interface CountOptions {
  readonly default?: number;
  /** Default 1. */
  readonly min?: number;
  /** Default 2^31 - 1, what the graph's indices can count. */
  readonly max?: number;
}

/** Typed, checked access to the fields of one JSON object of a model's configuration; null counts as absent. */
export class ConfigFields {
  /** The file it comes from, for errors. */
  readonly path: string;
  readonly #json: Readonly<Record<string, unknown>>;
  /** Dotted name of the object inside the file, with the dot. */
  readonly #prefix: string;

  constructor(path: string, json: Readonly<Record<string, unknown>>, prefix = "") {
    this.path = path;
    this.#json = json;
    this.#prefix = prefix;
  }

  /** True where the field is there, if only as null. */
  has(name: string): boolean {
    return Object.hasOwn(this.#json, name);
  }

  /** The field as it stands; undefined when absent or null. */
  value(name: string): unknown {
    return this.has(name) ? (this.#json[name] ?? undefined) : undefined;
  }

  /** A nested object's fields; undefined when absent. */
  record(name: string): ConfigFields | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (!isRecord(value)) throw this.#wrong(name, "an object");
    return new ConfigFields(this.path, value, `${this.#prefix}${name}.`);
  }

  boolean(name: string, fallback: boolean): boolean {
    const value = this.value(name) ?? fallback;
    if (typeof value !== "boolean") throw this.#wrong(name, "true or false");
    return value;
  }

  /** A whole number within bounds; without a default it must be there. */
  count(name: string, { default: fallback, min = 1, max = 2 ** 31 - 1 }: CountOptions = {}): number {
    const value = this.value(name) ?? fallback;
    if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
      throw this.#wrong(name, `a whole number from ${min} to ${max}`);
    }
    return value;
  }

  /** A whole number of at least 1, or null when absent. */
  optionalCount(name: string): number | null {
    return this.value(name) === undefined ? null : this.count(name);
  }

  /** A finite number above 0; without a fallback it must be there. */
  positive(name: string, fallback?: number): number {
    const value = this.value(name) ?? fallback;
    if (typeof value !== "number" || !Number.isFinite(value) || value <= 0) throw this.#wrong(name, "a number above 0");
    return value;
  }

  #wrong(name: string, expected: string): InvalidFile {
    return wrongField(this.path, `${this.#prefix}${name}`, this.value(name), expected);
  }
}

/** A field of a JSON file, by its dotted name, that is not what it should be. */
export function wrongField(path: string, field: string, value: unknown, expected: string): InvalidFile {
  const seen = value === undefined ? "is missing" : `is ${(JSON.stringify(value) ?? "").slice(0, 80)}`;
  return new InvalidFile(path, `${field} ${seen}, expected ${expected}`);
}
