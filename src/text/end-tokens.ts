/** Where a model says which tokens end its turn. */
export interface EndTokenSources {
  /** generation_config.json */
  readonly generationConfig: Readonly<Record<string, unknown>>;
  /** config.json, for older checkpoints state them only there. */
  readonly configJson: Readonly<Record<string, unknown>>;
  readonly eosTokenId: number | undefined;
}

/** The tokens that end a model's turn: all that any of its files names, each once. */
export function endTokensOf({ generationConfig, configJson, eosTokenId }: EndTokenSources): number[] {
  const ids = [generationConfig.eos_token_id, configJson.eos_token_id, eosTokenId].flat();
  return [...new Set(ids.filter((id): id is number => Number.isInteger(id)))];
}
