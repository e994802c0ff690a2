import { InvalidFile } from "../core/index.js";
import type { GgufValue } from "./gguf.js";

type Items<T> = readonly T[] | undefined;

/** Typed access to a GGUF file's metadata: what is absent is undefined, what has another type is refused. */
export class GgufMetadata {
  /** The file it comes from, for errors. */
  readonly path: string;
  readonly #values: ReadonlyMap<string, GgufValue>;

  constructor(path: string, values: ReadonlyMap<string, GgufValue>) {
    this.path = path;
    this.#values = values;
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  string(key: string): string | undefined {
    const value = this.#values.get(key);
    if (value === undefined || typeof value === "string") return value;
    throw this.#wrong(key, "text");
  }

  number(key: string): number | undefined {
    const value = this.#values.get(key);
    if (value === undefined || typeof value === "number") return value;
    throw this.#wrong(key, "a number");
  }

  /** As {@link number}, of a key that must be there. */
  requiredNumber(key: string): number {
    const value = this.number(key);
    if (value === undefined) throw new InvalidFile(this.path, `its metadata lacks "${key}"`);
    return value;
  }

  boolean(key: string): boolean | undefined {
    const value = this.#values.get(key);
    if (value === undefined || typeof value === "boolean") return value;
    throw this.#wrong(key, "true or false");
  }

  strings(key: string): Items<string> {
    return this.#items(key, "a list of texts", (item): item is string => typeof item === "string");
  }

  numbers(key: string): Items<number> {
    return this.#items(key, "a list of numbers", (item): item is number => typeof item === "number");
  }

  #items<T>(key: string, expected: string, isItem: (item: unknown) => item is T): Items<T> {
    const value: unknown = this.#values.get(key);
    if (value === undefined) return undefined;
    if (Array.isArray(value) && value.every(isItem)) return value;
    throw this.#wrong(key, expected);
  }

  #wrong(key: string, expected: string): InvalidFile {
    const seen = (JSON.stringify(this.#values.get(key)) ?? "").slice(0, 40);
    return new InvalidFile(this.path, `metadata "${key}" is ${seen}, expected ${expected}`);
  }
}
