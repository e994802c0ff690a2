import { writeFileSync } from "node:fs";
import { untilInterrupted } from "../src/cli/interrupt.js";
import { crowdScenario } from "./crowd-scenario.js";
import { describeMachine } from "./machine.js";
import { placeNativeSources } from "./native-sources.js";
import { chosenScenarios, type Scenario, type ServingFlags, servingFlags, soakSeconds } from "./serving-flags.js";
import { soak } from "./soak.js";
import { swapScenario } from "./swap-scenario.js";

// npm run bench:serving: Kindred under load, alone and against swapping full fine-tunes; see README.md beside this file.

const run: Readonly<Record<Scenario, (flags: ServingFlags, signal: AbortSignal) => Promise<object>>> = {
  zipf: swapScenario,
  crowd: crowdScenario,
};

placeNativeSources();
const seconds = soakSeconds();
const machine = describeMachine();
const results: Record<string, object> = {};
await untilInterrupted(async (signal) => {
  if (seconds !== undefined) {
    results.soak = await soak({ ...servingFlags("crowd"), seconds }, signal);
    return;
  }
  const chosen = chosenScenarios();
  for (const scenario of chosen) {
    if (chosen.length > 1) console.log(`── ${scenario} ${"─".repeat(60)}`);
    results[scenario] = await run[scenario](servingFlags(scenario), signal);
    console.log("");
  }
});
const { json } = servingFlags(seconds === undefined ? chosenScenarios()[0]! : "crowd");
if (json) writeFileSync(json, `${JSON.stringify({ machine, argv: process.argv.slice(2), results }, null, 1)}\n`);
