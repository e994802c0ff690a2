import type { Checkpoint } from "../formats/index.js";
import { FisherPass } from "./fisher-pass.js";
import { PassConstants } from "./pass.js";
import type { TrainingSample } from "./samples.js";
import { StoredWeights } from "./stored-weights.js";
import { Workspace } from "./workspace.js";

/** A text, and what each of its counted tokens counts beside those of other texts. */
export interface WeightedSample extends TrainingSample {
  readonly weight: number;
}

/**
 * What errors in a fine-tune's matrices cost. An error e in output i of a matrix, on every token anew, moves what the model says by a
 * divergence of about ½ · s_i · e² nats a token: s is the diagonal of the Fisher information of the matrix's outputs, for a model that is
 * less sure of its words than this one.
 */
export interface Sensitivity {
  /** s of the linear layers and of the output head by name, `[rows]`; the head is the embedding where these are tied. */
  readonly outputs: ReadonlyMap<string, Float64Array>;
  /** Mean of s over the components of what the embedding gives. */
  readonly embedded: number;
}

/** What {@link measureSensitivity} looks at. */
export interface SensitivityOptions {
  readonly tuned: Checkpoint;
  readonly samples: readonly WeightedSample[];
  readonly threads: number;
  readonly signal: AbortSignal;
  /** Called whenever another layer is done, on the way there or back. */
  readonly onLayer?: (done: number, total: number) => void;
}

/**
 * Measures {@link Sensitivity}: after every counted token a word is drawn, always the same for the same text, and the squared gradients
 * of these words' log probabilities are summed up; the Fisher information is their mean. One pass there and back.
 *
 * Memory: the hidden states of all samples twice a layer, one layer's weights, and the vocabulary's two ends.
 *
 * @throws the signal's reason when it is aborted, after the layer at hand
 */
export async function measureSensitivity(options: SensitivityOptions): Promise<Sensitivity> {
  const { tuned, samples, threads, signal, onLayer } = options;
  const { config } = tuned;
  const layers = Array.from({ length: config.layers }, (_, layer) => layer);
  using workspace = new Workspace(threads);
  using constants = new PassConstants(workspace, config);
  using ends = await StoredWeights.load(workspace, tuned, ({ name }) => !name.startsWith("model.layers."));
  const pass = new FisherPass({ workspace, constants, ends }, samples);
  let done = 0;
  const eachOf = async (order: readonly number[], compute: (layer: number, weights: StoredWeights) => void) => {
    for (const layer of order) {
      await new Promise(setImmediate);
      signal.throwIfAborted();
      const isOwn = ({ name }: { name: string }) => name.startsWith(`model.layers.${layer}.`);
      using weights = await StoredWeights.load(workspace, tuned, isOwn);
      compute(layer, weights);
      onLayer?.(++done, 2 * config.layers);
    }
  };
  await eachOf(layers, (layer, weights) => pass.forward(layer, weights));
  pass.turn();
  await eachOf(layers.toReversed(), (layer, weights) => pass.backward(layer, weights));
  return pass.sensitivity;
}
