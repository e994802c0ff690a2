export * from "./assert.js";
export * from "./bytes.js";
export * from "./channel.js";
export * from "./columns.js";
export * from "./half.js";
export * from "./record.js";
export * from "./rng.js";
export * from "./sha256.js";
