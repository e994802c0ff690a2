export * from "./chat-template.js";
export * from "./end-tokens.js";
export * from "./stop-matcher.js";
export { invalidLine, readTextEntries, type TextEntry } from "./text-entries.js";
export * from "./text-format.js";
export * from "./text-set.js";
export * from "./token-stream.js";
export * from "./tokenizer.js";
