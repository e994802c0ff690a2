export * from "./chart.js";
export * from "./svg.js";
