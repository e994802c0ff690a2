import koffi from "koffi";
import { compile } from "../src/ggml/compiler.js";

/** Rates of reading and multiplying. */
export interface Limits {
  readonly gigabytesPerSecond: number;
  /** Billions of 8-bit products that are added up. */
  readonly gigaproductsPerSecond: number;
}

/** What the machine can do at most with so many threads, or undefined where no C compiler makes the program that measures it. */
export async function measureLimits(threads: number): Promise<Limits | undefined> {
  const compiled = await compile({ sources: "bench/limits" });
  if ("problem" in compiled) return undefined;
  const library = koffi.load(compiled.file);
  const rate = (name: string) => (library.func(name, "double", ["int"]) as (threads: number) => number)(threads);
  return { gigabytesPerSecond: rate("kindred_read_rate"), gigaproductsPerSecond: rate("kindred_product_rate") };
}
