export * from "./chat-template.js";
export * from "./stop-matcher.js";
export * from "./token-stream.js";
export * from "./tokenizer.js";
