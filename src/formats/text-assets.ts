import { join } from "node:path";
import { InvalidFile } from "../core/index.js";
import { isRecord } from "../util/index.js";
import type { TextAssets } from "./checkpoint.js";
import { readJsonIfPresent, readTextIfPresent } from "./json-file.js";

/**
 * Reads the text files of a Hugging Face folder, which need not be there.
 *
 * @throws {InvalidFile} if one is there but is not what its name promises
 */
export async function readTextAssets(folder: string): Promise<TextAssets> {
  const tokenizerConfigPath = join(folder, "tokenizer_config.json");
  const [tokenizer, tokenizerConfig = {}, generationConfig = {}, templateFile] = await Promise.all([
    readJsonIfPresent(join(folder, "tokenizer.json")),
    readJsonIfPresent(tokenizerConfigPath),
    readJsonIfPresent(join(folder, "generation_config.json")),
    readTextIfPresent(join(folder, "chat_template.jinja")),
  ]);
  const chatTemplate = templateFile ?? parseTemplate(tokenizerConfigPath, tokenizerConfig.chat_template);
  return { tokenizer, tokenizerConfig, chatTemplate, generationConfig };
}

/** One template, or several by name, of which `default` is for plain chat. */
function parseTemplate(path: string, value: unknown): string | undefined {
  if (value === undefined || value === null || typeof value === "string") return value ?? undefined;
  if (!Array.isArray(value) || !value.every(isRecord)) {
    throw new InvalidFile(path, "chat_template is neither text nor a list of named templates");
  }
  const chosen = value.find((item) => item.name === "default");
  return typeof chosen?.template === "string" ? chosen.template : undefined;
}
