import { UnsupportedModel } from "../core/index.js";
import { isRecord } from "../util/index.js";
import type { TokenizerJson, TokenizerPart } from "./tokenizer-json.js";

// The JavaScript library reads a few pre-tokenizers differently from the Rust original that models are trained with.
// Each is said here in other words, which both understand alike.

const gpt2Words = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/**
 * Rewrites what the library would read differently. `path` names the model in errors.
 *
 * @throws {UnsupportedModel} for what it cannot be made to read
 */
export function correctForLibrary(path: string, json: TokenizerJson): TokenizerJson {
  for (const field of ["continuing_subword_prefix", "end_of_word_suffix"]) {
    const value = json.model[field] ?? "";
    if (value !== "") throw new UnsupportedModel(path, `its tokenizer has a ${field} of ${JSON.stringify(value)}`);
  }
  return { ...json, pre_tokenizer: correct(path, json.pre_tokenizer) };
}

function correct(path: string, part: TokenizerPart): TokenizerPart {
  switch (part?.type) {
    case "Sequence": {
      const steps = Array.isArray(part.pretokenizers) ? part.pretokenizers.filter(isRecord) : [];
      return { ...part, pretokenizers: steps.map((step) => correct(path, step)) };
    }
    case "Digits":
      // Digits are those of all scripts, the library's only 0 to 9.
      return splitBy(part.individual_digits === true ? "\\p{N}" : "\\p{N}+");
    case "ByteLevel":
      // White space includes U+0085 and not U+FEFF, which the library's built-in pattern has the other way round.
      if (part.use_regex === false || part.add_prefix_space === true) return part;
      return sequence(splitBy(gpt2Words), { ...part, use_regex: false });
    case "Metaspace": {
      // Unless told not to, it cuts before each space; the library never does.
      if (part.split === false) return part;
      const space = `\\u{${(String(part.replacement ?? "\u2581").codePointAt(0) ?? 0x2581).toString(16)}}`;
      return sequence(part, splitBy(`${space}?[^${space}]*`));
    }
    case "Split":
      // Other ways to treat what matches are taken for "Isolated".
      if (part.behavior === "Isolated" || part.behavior === "Removed") return part;
      throw new UnsupportedModel(
        path,
        `its tokenizer splits with the behavior ${JSON.stringify(part.behavior ?? null)}`,
      );
    default:
      return part;
  }
}

function splitBy(pattern: string): TokenizerPart {
  return { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false };
}

function sequence(...pretokenizers: TokenizerPart[]): TokenizerPart {
  return { type: "Sequence", pretokenizers };
}
