import { closeSync, openSync, readdirSync } from "node:fs";
import path from "node:path";
import koffi from "koffi";

/** POSIX_FADV_DONTNEED of Linux. */
const dontNeed = 4;

/**
 * Has the system forget what it keeps of a folder's files, so that the next to read them reads the disk, as on a machine that has no
 * memory to spare. What some process has mapped stays.
 *
 * @throws {Error} on systems other than Linux
 */
export function forgetFiles(folder: string): void {
  if (process.platform !== "linux") throw new Error("Files can be taken out of the page cache on Linux only");
  const advise = koffi.load(null).func("posix_fadvise", "int", ["int", "int64", "int64", "int"]);
  for (const name of readdirSync(folder)) {
    const file = openSync(path.join(folder, name), "r");
    try {
      advise(file, 0, 0, dontNeed);
    } finally {
      closeSync(file);
    }
  }
}
