import { InvalidFile, UnsupportedModel } from "../core/index.js";
import type { TextAssets } from "./checkpoint.js";
import type { GgufMetadata } from "./gguf-metadata.js";

type Json = Readonly<Record<string, unknown>>;

/** A vocabulary as GGUF embeds it; index in the lists = token id. */
interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  readonly scores: readonly number[];
}

/** Numbers in `tokenizer.ggml.token_type`. */
const normal = 1;
const unknown = 2;
const control = 3;
const userDefined = 4;

/**
 * Converts the tokenizer that a GGUF file embeds to the files of a Hugging Face folder.
 *
 * @throws {InvalidFile} if its lists are missing or do not fit together
 * @throws {UnsupportedModel} for a kind of tokenizer, or a way to cut text before it, that is not known
 */
export function ggufTextAssets(metadata: GgufMetadata): TextAssets {
  const chatTemplate = metadata.string("tokenizer.chat_template");
  const model = metadata.string("tokenizer.ggml.model");
  if (model === undefined) return { tokenizer: undefined, tokenizerConfig: {}, chatTemplate, generationConfig: {} };
  const vocabulary = readVocabulary(metadata);
  const generationConfig = { eos_token_id: endTokens(metadata, vocabulary) };
  if (model === "gpt2") return { ...byteLevelTokenizer(metadata, vocabulary), chatTemplate, generationConfig };
  if (model === "llama") return { ...sentencePieceTokenizer(metadata, vocabulary), chatTemplate, generationConfig };
  throw new UnsupportedModel(metadata.path, `tokenizer.ggml.model is "${model}"; known are gpt2, llama`);
}

function readVocabulary(metadata: GgufMetadata): Vocabulary {
  const tokens = metadata.strings("tokenizer.ggml.tokens");
  if (!tokens) throw new InvalidFile(metadata.path, 'its metadata lacks "tokenizer.ggml.tokens"');
  const types = metadata.numbers("tokenizer.ggml.token_type") ?? tokens.map(() => normal);
  const scores = metadata.numbers("tokenizer.ggml.scores") ?? tokens.map(() => 0);
  if (types.length !== tokens.length || scores.length !== tokens.length) {
    const lengths = `${tokens.length} tokens, ${types.length} token types and ${scores.length} scores`;
    throw new InvalidFile(metadata.path, `its vocabulary has ${lengths}`);
  }
  return { tokens, types, scores };
}

// How a text is cut before byte pairs are merged, by GGUF's name for it. The patterns are those of the models' own
// tokenizer.json files; ByteLevel's built-in one is GPT-2's.
const wholeBytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
const gpt2Cut = { ...wholeBytes, use_regex: true };
const splitBy = (pattern: string) => ({
  type: "Split",
  pattern: { Regex: pattern },
  behavior: "Isolated",
  invert: false,
});
const wordsAnd = (numbers: string) =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${numbers}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

const cuts: Readonly<Record<string, readonly Json[]>> = {
  default: [gpt2Cut],
  "gpt-2": [gpt2Cut],
  smollm: [{ type: "Digits", individual_digits: true }, gpt2Cut],
  "llama-bpe": [splitBy(wordsAnd("\\p{N}{1,3}")), wholeBytes],
  qwen2: [splitBy(wordsAnd("\\p{N}")), wholeBytes],
};

function byteLevelTokenizer(
  metadata: GgufMetadata,
  vocabulary: Vocabulary,
): Pick<TextAssets, "tokenizer" | "tokenizerConfig"> {
  const pre = metadata.string("tokenizer.ggml.pre") ?? "default";
  const pretokenizers = Object.hasOwn(cuts, pre) ? cuts[pre] : undefined;
  if (!pretokenizers) {
    throw new UnsupportedModel(
      metadata.path,
      `tokenizer.ggml.pre is "${pre}"; known are ${Object.keys(cuts).join(", ")}`,
    );
  }
  const merges = metadata.strings("tokenizer.ggml.merges");
  if (!merges) throw new InvalidFile(metadata.path, 'its metadata lacks "tokenizer.ggml.merges"');
  const isLlama3 = pre === "llama-bpe";
  const tokenizer = {
    version: "1.0",
    added_tokens: addedTokens(vocabulary),
    normalizer: pre === "qwen2" ? { type: "NFC" } : null,
    pre_tokenizer: { type: "Sequence", pretokenizers },
    post_processor: postProcessor(metadata, vocabulary, { addBos: isLlama3 }),
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: "BPE", vocab: tokenIds(vocabulary), merges, ignore_merges: isLlama3 },
  };
  return { tokenizer, tokenizerConfig: tokenizerConfig(metadata, vocabulary) };
}

function sentencePieceTokenizer(
  metadata: GgufMetadata,
  vocabulary: Vocabulary,
): Pick<TextAssets, "tokenizer" | "tokenizerConfig"> {
  const addPrefixSpace = metadata.boolean("tokenizer.ggml.add_space_prefix") ?? true;
  const underline = "\u2581";
  const tokenizer = {
    version: "1.0",
    added_tokens: addedTokens(vocabulary),
    normalizer: null,
    pre_tokenizer: {
      type: "Metaspace",
      replacement: underline,
      prepend_scheme: addPrefixSpace ? "first" : "never",
      split: false,
    },
    post_processor: postProcessor(metadata, vocabulary, { addBos: true }),
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: underline }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(addPrefixSpace ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: "BPE",
      vocab: tokenIds(vocabulary),
      merges: mergesFromScores(vocabulary),
      unk_token: tokenAt(metadata, vocabulary, "unknown") ?? null,
      fuse_unk: true,
      byte_fallback: true,
    },
  };
  return {
    tokenizer,
    tokenizerConfig: {
      ...tokenizerConfig(metadata, vocabulary),
      tokenizer_class: "LlamaTokenizer",
      legacy: false,
      add_prefix_space: addPrefixSpace,
    },
  };
}

/**
 * SentencePiece joins the two neighbours whose joint piece scores highest; tokenizer.json lists the pairs in that
 * order. Pieces of equal score are taken in the order of their ids, the order in which training found them.
 */
function mergesFromScores({ tokens, types, scores }: Vocabulary): [string, string][] {
  const pieces = new Set(tokens.filter((_, id) => types[id] === normal));
  const ids = tokens.map((_, id) => id).filter((id) => types[id] === normal);
  ids.sort((a, b) => scores[b]! - scores[a]! || a - b);
  const merges: [string, string][] = [];
  for (const id of ids) {
    const characters = [...tokens[id]!];
    for (let cut = 1; cut < characters.length; cut++) {
      const left = characters.slice(0, cut).join("");
      const right = characters.slice(cut).join("");
      if (pieces.has(left) && pieces.has(right)) merges.push([left, right]);
    }
  }
  return merges;
}

function tokenIds({ tokens }: Vocabulary): Readonly<Record<string, number>> {
  return Object.fromEntries(tokens.map((token, id) => [token, id]));
}

function addedTokens({ tokens, types }: Vocabulary): Json[] {
  const added: Json[] = [];
  tokens.forEach((content, id) => {
    const special = types[id] === control || types[id] === unknown;
    if (special || types[id] === userDefined) {
      added.push({ id, content, special, normalized: false, lstrip: false, rstrip: false, single_word: false });
    }
  });
  return added;
}

/** Puts the BOS and EOS tokens around a text, where the file asks for them. */
function postProcessor(metadata: GgufMetadata, vocabulary: Vocabulary, defaults: { addBos: boolean }): Json {
  const wanted = {
    bos: metadata.boolean("tokenizer.ggml.add_bos_token") ?? defaults.addBos,
    eos: metadata.boolean("tokenizer.ggml.add_eos_token") ?? false,
  };
  const used: Record<string, Json> = {};
  const place = (role: keyof typeof wanted): Json[] => {
    const token = wanted[role] ? tokenAt(metadata, vocabulary, role) : undefined;
    if (token === undefined) return [];
    used[token] = { id: token, ids: [vocabulary.tokens.indexOf(token)], tokens: [token] };
    return [{ SpecialToken: { id: token, type_id: 0 } }];
  };
  const text = (id: "A" | "B") => ({ Sequence: { id, type_id: 0 } });
  const [bos, eos] = [place("bos"), place("eos")];
  return {
    type: "TemplateProcessing",
    single: [...bos, text("A"), ...eos],
    pair: [...bos, text("A"), ...eos, text("B"), ...eos],
    special_tokens: used,
  };
}

function tokenizerConfig(metadata: GgufMetadata, vocabulary: Vocabulary): Json {
  const name = (role: string) => tokenAt(metadata, vocabulary, role) ?? null;
  return {
    bos_token: name("bos"),
    eos_token: name("eos"),
    unk_token: name("unknown"),
    pad_token: name("padding"),
    clean_up_tokenization_spaces: false,
  };
}

function tokenAt(metadata: GgufMetadata, { tokens }: Vocabulary, role: string): string | undefined {
  const id = metadata.number(`tokenizer.ggml.${role}_token_id`);
  if (id === undefined) return undefined;
  const token = tokens[id];
  if (token !== undefined) return token;
  throw new InvalidFile(metadata.path, `its ${role} token is ${id}, outside its vocabulary of ${tokens.length}`);
}

/** Texts of control tokens with which models end a turn or a document; a GGUF names one of them, some use several. */
const endings = ["<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>"];

function endTokens(metadata: GgufMetadata, { tokens, types }: Vocabulary): number[] {
  const named = ["eos", "eot", "eom"].map((role) => metadata.number(`tokenizer.ggml.${role}_token_id`));
  const known = endings.map((text) => tokens.indexOf(text)).filter((id) => types[id] === control);
  return [...new Set([...named, ...known])].filter((id) => id !== undefined);
}
