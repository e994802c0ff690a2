import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { byKind, readCalibration } from "../src/cli/calibration-text.js";
import {
  type Allocation,
  type AllocationAim,
  allocate,
  compressDelta,
  createCodec,
  type DeltaCodec,
  restoreCheckpoint,
  surveyForms,
} from "../src/delta/index.js";
import { defaultEngineOptions } from "../src/engine/index.js";
import { openCheckpoint, openDelta } from "../src/formats/index.js";
import { drawEvaluation, evaluate } from "../src/quality/index.js";
import { accuracyTable, fidelityTable, type MeasuredFineTune } from "./fidelity-table.js";

// npm run bench:fidelity: what compression costs and loses, one row a codec, as tables in Markdown.
//
//   --tuned FOLDER                          the embedded fine-tunes whose full checkpoints lie in FOLDER/NAME
//   --base B --tuned T --task FILE.jsonl    any pair; --task may be given several times, and so may --calibrate, text of the same
//                                           kind that the calibrated codecs look at
//   (nothing)                               the embedded variants as they are shipped, against the checkpoints they restore to

/** Has a form chosen for every matrix. */
type Auto = (aim: AllocationAim) => Promise<Allocation>;

/** Every way to compress that is compared. A new one is a line here. */
const codecs: readonly { name: string; make: (auto: Auto) => Promise<DeltaCodec | Allocation>; calibrated?: true }[] = [
  { name: "bitdelta", make: async () => createCodec("bitdelta") },
  { name: "sign, 1 plane", make: async () => createCodec("sign", { planes: 1 }) },
  { name: "sign, 1 plane, calibrated", make: async () => createCodec("sign", { planes: 1 }), calibrated: true },
  { name: "svd, 0.9 bits", make: async () => createCodec("svd", { bits: 0.9 }) },
  { name: "ternary", make: async () => createCodec("ternary") },
  { name: "ternary, calibrated", make: async () => createCodec("ternary"), calibrated: true },
  { name: "signlr, 1.75 bits", make: async () => createCodec("signlr", { bits: 1.75 }) },
  { name: "deltazip, 2 bits", make: async () => createCodec("deltazip", { bits: 2 }), calibrated: true },
  { name: "deltazip, 4 bits", make: async () => createCodec("deltazip", { bits: 4 }), calibrated: true },
  { name: "auto, 1.9 bits", make: (auto) => auto({ bitsMax: 1.9 }), calibrated: true },
  { name: "sign, 2 planes", make: async () => createCodec("sign", { planes: 2 }) },
  { name: "sign, 2 planes, calibrated", make: async () => createCodec("sign", { planes: 2 }), calibrated: true },
];

const { values: flags } = parseArgs({
  options: {
    base: { type: "string", default: "models/tiny/base" },
    tuned: { type: "string" },
    task: { type: "string", multiple: true },
    calibrate: { type: "string", multiple: true },
    calibration: { type: "string", default: "models/tiny/calibration" },
    general: { type: "string", default: "models/calibration/general.txt" },
    variants: { type: "string", default: "models/tiny/variants" },
    tasks: { type: "string", default: "models/tiny/tasks" },
    text: { type: "string", default: "models/eval/general.txt" },
    /** Chats of each task, and tokens of the text. */
    items: { type: "string", default: "300" },
    tokens: { type: "string", default: "4096" },
    /** Embedded fine-tunes by name, and codecs; all that are there where none is named. */
    only: { type: "string", multiple: true },
    codec: { type: "string", multiple: true },
    /** Base, fine-tune and cache in 32 bits instead of as they are served. */
    precise: { type: "boolean", default: false },
    threads: { type: "string", default: String(availableParallelism()) },
    json: { type: "string" },
    picture: { type: "string" },
  },
});

interface Pair {
  readonly name: string;
  readonly tuned: string;
  readonly data: readonly string[];
  /** Text of the same kind as the task's, to calibrate on; calibrated codecs are left out without it. */
  readonly calibrate: readonly string[];
  /** A delta that is there already and is measured instead of new ones. */
  readonly shipped?: string;
}

const threads = Number(flags.threads);
const held = flags.precise ? ({ baseDType: "f32", kvDType: "f32" } as const) : {};
const engine = { ...defaultEngineOptions, threads, ...held };
const chosen = codecs.filter(({ name }) => !flags.codec || flags.codec.includes(name));
const pairs = await findPairs();
if (pairs.length === 0 || chosen.length === 0) throw new Error("there is nothing to measure: see bench/README.md");

const measured: MeasuredFineTune[] = [];
for (const pair of pairs) {
  const work = await mkdtemp(path.join(tmpdir(), "kindred-fidelity-"));
  try {
    measured.push(await measure(pair, work));
  } finally {
    await rm(work, { recursive: true });
  }
  console.log(`\n${pair.name}\n\n${fidelityTable(measured.at(-1)!)}`);
  if (flags.picture) await writeFile(pictureOf(flags.picture, pair.name), drawEvaluation(measured.at(-1)!.evaluation));
  if (flags.json) await writeFile(flags.json, `${JSON.stringify(measured, null, 1)}\n`);
}
if (measured.length > 1) console.log(`\nAccuracy\n\n${accuracyTable(measured)}`);

async function findPairs(): Promise<Pair[]> {
  if (flags.task) {
    if (!flags.tuned) throw new Error("--task FILE goes with --base B --tuned T");
    return [
      {
        name: path.basename(path.resolve(flags.tuned)),
        tuned: flags.tuned,
        data: [...flags.task, flags.text],
        calibrate: flags.calibrate ?? [],
      },
    ];
  }
  const names = (await readdir(flags.variants)).filter((name) => !flags.only || flags.only.includes(name)).sort();
  return names.flatMap((name): Pair[] => {
    const task = path.join(flags.tasks, `${name}.jsonl`);
    const data = existsSync(task) ? [task, flags.text] : [flags.text];
    const calibrate = [path.join(flags.calibration, `${name}.jsonl`)].filter((file) => existsSync(file));
    if (!flags.tuned) return [{ name, tuned: "", data, calibrate, shipped: path.join(flags.variants, name) }];
    const tuned = path.join(flags.tuned, name);
    return existsSync(tuned) ? [{ name, tuned, data, calibrate }] : [];
  });
}

async function measure(
  { name, tuned: tunedPath, data, calibrate, shipped }: Pair,
  work: string,
): Promise<MeasuredFineTune> {
  await using base = await openCheckpoint(flags.base);
  const deltas = shipped ? [{ name: "as shipped", path: shipped }] : [];
  if (shipped) {
    await using delta = await openDelta(shipped);
    await restoreCheckpoint({ base, delta, out: path.join(work, name) });
  }
  await using tuned = await openCheckpoint(shipped ? path.join(work, name) : tunedPath);
  const seconds: Record<string, number> = {};
  const calibration = calibrate.length > 0 ? await readCalibration(tuned, calibrate, flags.general) : undefined;
  for (const codec of shipped ? [] : chosen) {
    if (codec.calibrated && !calibration) continue;
    const out = path.join(work, codec.name);
    const startedMs = performance.now();
    const text = codec.calibrated && calibration ? { calibration } : {};
    const made = await codec.make(async (aim) => {
      const signal = new AbortController().signal;
      const survey = await surveyForms({ base, tuned, texts: byKind(calibration ?? []), threads, signal });
      return allocate(survey, {}, aim);
    });
    await compressDelta({ base, tuned, codec: made, ...text, out, threads });
    seconds[codec.name] = (performance.now() - startedMs) / 1000;
    deltas.push({ name: codec.name, path: out });
    console.error(`${name}: ${codec.name} in ${seconds[codec.name]!.toFixed(1)} s`);
  }
  const limits = { chatsMax: Number(flags.items), textTokensMax: Number(flags.tokens) };
  const evaluation = await evaluate({ base, tuned, deltas, data, engine, ...limits });
  return { evaluation, seconds };
}

/** `fidelity.svg` → `fidelity-clinc.svg` where there are several. */
function pictureOf(file: string, name: string): string {
  if (pairs.length === 1) return file;
  const { dir, name: stem, ext } = path.parse(file);
  return path.join(dir, `${stem}-${name}${ext}`);
}
