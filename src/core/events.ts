/** What a running service reports about itself, for logs and metrics. */
export type ServiceEvent =
  /** One step drew tokens for this many sequences. */
  | { readonly type: "step"; readonly sequences: number }
  | {
      readonly type: "variantLoaded";
      readonly variant: string;
      readonly bytes: number;
      readonly tookMs: number;
      /** What it was expected to take, by what was seen before. */
      readonly expectedMs: number;
      /** How far what is expected of loads, and of steps, was off of late, as a part of what they took. */
      readonly errors: { readonly load: number; readonly step: number };
    }
  /** The engine died and another one took over its sequences. */
  | { readonly type: "engineRestarted"; readonly sequences: number };
