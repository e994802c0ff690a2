#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { KindredError } from "../core/index.js";
import * as bench from "./bench.js";
import * as chat from "./chat.js";
import * as compress from "./compress.js";
import * as demo from "./demo.js";
import * as evaluate from "./eval.js";
import * as generate from "./generate.js";
import * as inspect from "./inspect.js";
import * as plan from "./plan.js";
import * as restore from "./restore.js";
import * as score from "./score.js";
import * as serve from "./serve.js";

const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};
const program = new Command("kindred")
  .description("Many full fine-tunes of one base language model, served from one process and one batch")
  .version(manifest.version);
for (const command of [serve, plan, chat, generate, compress, inspect, restore, evaluate, score, bench, demo])
  command.register(program);

try {
  await program.parseAsync();
} catch (error) {
  // What the world did wrong is one sentence; what we did wrong shows where.
  if (!(error instanceof KindredError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
