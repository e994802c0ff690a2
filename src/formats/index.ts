export * from "./byte-source.js";
export * from "./checkpoint.js";
export * from "./delta-artifact.js";
export { deltaConfig } from "./delta-check.js";
export type { CodecOptions, OriginalFile } from "./delta-manifest.js";
export * from "./delta-tensor.js";
export * from "./folder-writer.js";
export { parseModelConfig } from "./model-config.js";
export * from "./open-checkpoint.js";
export * from "./open-variant.js";
export { inOriginalOrder, readOriginalFile } from "./original-file.js";
export { UnsupportedAdapter } from "./peft-config.js";
export { type DecodePlane, decodePlaneCode, storePlane } from "./plane-code.js";
export { codeBlocks } from "./plane-code-layout.js";
export { residentBytes, slotClassesOf } from "./resident-bytes.js";
export * from "./safetensors.js";
export * from "./safetensors-writer.js";
export { leastTrits, signsOfTernary, slotPlanesOf, type TernaryHalf } from "./slot-planes.js";
export { readStored, type StoredBlob, unpackBlob } from "./stored-blob.js";
export { differingText, printJson, printText, type TextOverrides } from "./text-files.js";
export {
  type ContentsForm,
  contentsForm,
  packContents,
  type TensorContents,
  type VariantContents,
} from "./variant-contents.js";
export type { VariantSource } from "./variant-source.js";
export { withVocabulary } from "./vocabulary-view.js";
