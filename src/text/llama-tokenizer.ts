import type { TokenizerJson } from "./tokenizer-json.js";

const underline = "\u2581";

/**
 * Reads a tokenizer.json the way transformers 5 does where tokenizer_config.json names its `LlamaTokenizer`, a
 * SentencePiece vocabulary. Of the file it takes the vocabulary and the merges alone:
 *
 * - a space goes before the text only if none is there, and (unless `legacy`) only at its very beginning, where older
 *   files ask for one after every special token, too;
 * - characters that the vocabulary lacks, as themselves and as bytes, are dropped instead of becoming `<unk>`.
 *
 * A byte-level vocabulary under that class name is left as the file says.
 */
export function asLlamaTokenizer(json: TokenizerJson, config: Readonly<Record<string, unknown>>): TokenizerJson {
  const isLlama = config.tokenizer_class === "LlamaTokenizer" || config.tokenizer_class === "LlamaTokenizerFast";
  if (!isLlama || !json.model.byte_fallback) return json;
  const addPrefixSpace = config.add_prefix_space !== false;
  const scheme = config.legacy === true ? "always" : "first";
  return {
    ...json,
    added_tokens: json.added_tokens.map((token) => ({ ...token, normalized: false })),
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        {
          type: "Metaspace",
          replacement: underline,
          prepend_scheme: addPrefixSpace ? scheme : "never",
          split: false,
        },
        ...dropUnknown(json.model.vocab),
      ],
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: underline }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(addPrefixSpace ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
    model: { ...json.model, unk_token: null },
  };
}

/** The step that removes what cannot be encoded; none where bytes can encode everything. */
function dropUnknown(vocab: Readonly<Record<string, number>>): Readonly<Record<string, unknown>>[] {
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  if (bytes.every((token) => Object.hasOwn(vocab, token))) return [];
  const known = [underline, ...Object.keys(vocab).filter((token) => [...token].length === 1)];
  const characters = known.map((character) => `\\u{${character.codePointAt(0)!.toString(16)}}`);
  return [{ type: "Replace", pattern: { Regex: `[^${characters.join("")}]` }, content: "" }];
}
