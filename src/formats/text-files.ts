// How the parts of TextAssets are spelt as files of a Hugging Face folder:
//
//   tokenizer          tokenizer.json
//   tokenizerConfig    tokenizer_config.json, without `chat_template`, which has a file of its own
//   chatTemplate       chat_template.jinja
//   generationConfig   generation_config.json

import { isDeepStrictEqual } from "node:util";
import { InvalidFile } from "../core/index.js";
import { isRecord } from "../util/index.js";
import type { TextAssets } from "./checkpoint.js";

/** The assets that a variant does not share with its base. */
export type TextOverrides = Partial<TextAssets>;

/** Names of the files that {@link printText} may give. */
export const textFileNames = [
  "tokenizer.json",
  "tokenizer_config.json",
  "chat_template.jinja",
  "generation_config.json",
] as const;

export type TextFileName = (typeof textFileNames)[number];

/** What of `tuned` differs from `base`. What only the base has stays the base's. */
export function differingText(base: TextAssets, tuned: TextAssets): TextOverrides {
  const overrides: { -readonly [asset in keyof TextAssets]?: TextAssets[asset] } = {};
  if (tuned.tokenizer && !isDeepStrictEqual(tuned.tokenizer, base.tokenizer)) overrides.tokenizer = tuned.tokenizer;
  if (tuned.chatTemplate !== undefined && tuned.chatTemplate !== base.chatTemplate)
    overrides.chatTemplate = tuned.chatTemplate;
  if (differs(withoutTemplate(tuned.tokenizerConfig), withoutTemplate(base.tokenizerConfig))) {
    overrides.tokenizerConfig = tuned.tokenizerConfig;
  }
  if (differs(tuned.generationConfig, base.generationConfig)) overrides.generationConfig = tuned.generationConfig;
  return overrides;
}

/** File name → content, for the assets that are there. */
export function printText(text: TextOverrides): ReadonlyMap<TextFileName, string> {
  const files = new Map<TextFileName, string>();
  if (text.tokenizer) files.set("tokenizer.json", printJson(text.tokenizer));
  const { tokenizerConfig, generationConfig } = text;
  if (tokenizerConfig && !isEmpty(tokenizerConfig)) {
    files.set("tokenizer_config.json", printJson(withoutTemplate(tokenizerConfig)));
  }
  if (text.chatTemplate !== undefined) files.set("chat_template.jinja", text.chatTemplate);
  if (generationConfig && !isEmpty(generationConfig)) files.set("generation_config.json", printJson(generationConfig));
  return files;
}

/**
 * The inverse of {@link printText}. `folder` is for errors.
 *
 * @throws {InvalidFile} if one is not a JSON object where it should be
 */
export function parseText(folder: string, files: ReadonlyMap<string, string>): TextOverrides {
  const json = (name: TextFileName) => {
    const content = files.get(name);
    return content === undefined ? undefined : parseObject(`${folder}/${name}`, content);
  };
  const tokenizer = json("tokenizer.json");
  const tokenizerConfig = json("tokenizer_config.json");
  const generationConfig = json("generation_config.json");
  const chatTemplate = files.get("chat_template.jinja");
  return {
    ...(tokenizer && { tokenizer }),
    ...(tokenizerConfig && { tokenizerConfig }),
    ...(chatTemplate !== undefined && { chatTemplate }),
    ...(generationConfig && { generationConfig }),
  };
}

/** Parses a file that must hold a JSON object. */
export function parseObject(path: string, content: string): Readonly<Record<string, unknown>> {
  let json: unknown;
  try {
    json = JSON.parse(content);
  } catch (cause) {
    throw new InvalidFile(path, `it is not valid JSON (${(cause as Error).message})`, { cause });
  }
  if (!isRecord(json)) throw new InvalidFile(path, "it holds JSON, but not an object");
  return json;
}

export function printJson(value: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** An empty record stands for a file that is not there, which inherits. */
function differs(tuned: Readonly<Record<string, unknown>>, base: Readonly<Record<string, unknown>>): boolean {
  return !isEmpty(tuned) && !isDeepStrictEqual(tuned, base);
}

function isEmpty(record: Readonly<Record<string, unknown>>): boolean {
  return Object.keys(record).length === 0;
}

function withoutTemplate(tokenizerConfig: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { chat_template: _, ...others } = tokenizerConfig;
  return others;
}
