// Runs every *.test.js under dist/ with node:test, or those whose path contains an argument: `npm test -- scheduler`.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import path from "node:path";

const wanted = process.argv.slice(2);
const files = readdirSync("dist", { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".test.js"))
  .filter((file) => wanted.length === 0 || wanted.some((word) => file.includes(word)))
  .map((file) => path.join("dist", file));
if (files.length === 0) throw new Error("no test file matches; run npm run build first?");
// Tests that compute share two cores with each other badly: files run two at a time.
const args = ["--test", "--test-concurrency=2", "--test-reporter=spec", "--test-reporter-destination=stdout", ...files];
process.exit(spawnSync(process.execPath, args, { stdio: "inherit" }).status ?? 1);
