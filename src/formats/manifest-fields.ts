import { InvalidFile } from "../core/index.js";
import { isRecord } from "../util/index.js";
import { wrongField } from "./config-fields.js";

/** An object of JSON, not yet looked into. */
export type Json = Readonly<Record<string, unknown>>;

/** Whether something is a positive whole number. */
export function isExtent(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

function isDigest(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}

/** Typed access to one object of delta.json. */
export class Fields {
  readonly json: Json;
  readonly #path: string;
  /** Dotted place of the object in the file, with the dot. */
  readonly #prefix: string;

  constructor(path: string, prefix: string, json: unknown) {
    this.#path = path;
    this.#prefix = prefix;
    if (!isRecord(json)) throw new InvalidFile(path, `${prefix.slice(0, -1) || "it"} is not a JSON object`);
    this.json = json;
  }

  record(name: string): Fields {
    return new Fields(this.#path, `${this.#prefix}${name}.`, this.json[name]);
  }

  records(name: string): readonly Fields[] {
    const value = this.json[name];
    if (!Array.isArray(value) || value.length === 0) throw this.wrong(name, "a list of objects");
    return value.map((item, index) => new Fields(this.#path, `${this.#prefix}${name}[${index}].`, item));
  }

  text(name: string): string {
    const value = this.json[name];
    if (typeof value !== "string" || value === "") throw this.wrong(name, "text");
    return value;
  }

  oneOf<T extends string>(name: string, choices: readonly T[]): T {
    const chosen = choices.find((choice) => choice === this.json[name]);
    if (chosen === undefined) throw this.wrong(name, `one of ${choices.join(", ")}`);
    return chosen;
  }

  digest(name: string): string {
    const value = this.json[name];
    if (!isDigest(value)) throw this.wrong(name, "a SHA-256 in hexadecimal");
    return value;
  }

  digests(name: string): readonly string[] {
    const value = this.json[name];
    if (!Array.isArray(value) || value.length === 0 || !value.every(isDigest)) {
      throw this.wrong(name, "a list of SHA-256 in hexadecimal, one for each plane");
    }
    return value;
  }

  shape(name: string): readonly number[] {
    const value = this.json[name];
    if (!Array.isArray(value) || value.length === 0 || !value.every(isExtent))
      throw this.wrong(name, "a list of extents");
    return value;
  }

  magnitude(name: string): number {
    const value = this.json[name];
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0)
      throw this.wrong(name, "a number of at least 0");
    return value;
  }

  wrong(name: string, expected: string): InvalidFile {
    return wrongField(this.#path, `${this.#prefix}${name}`, this.json[name], expected);
  }
}
