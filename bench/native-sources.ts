import { cpSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Puts `native/` beside the compiled sources, where the package has it and they look for it. To be called before an engine is started. */
export function placeNativeSources(): void {
  cpSync("native", fileURLToPath(new URL("../native", import.meta.url)), { recursive: true });
}
