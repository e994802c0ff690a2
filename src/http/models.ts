import type { FastifyInstance } from "fastify";
import { type Completer, type ModelCard, ModelNotFound } from "../core/index.js";
import { sha256 } from "../util/index.js";

/** Adds GET /models and GET /models/ID to `app`; an ID may hold slashes, escaped or not. */
export function registerModels(app: FastifyInstance, completer: Completer): void {
  app.get("/models", () => ({ object: "list", data: completer.models().map(renderModel) }));

  app.get<{ Params: { "*": string } }>("/models/*", ({ params }) => {
    const id = params["*"];
    const card = findCard(completer, id);
    if (card === undefined) throw new ModelNotFound(id);
    return renderModel(card);
  });
}

/** OpenAI's model object, with vLLM's additions for variants of a base. */
function renderModel({ id, parent, created, contextLength }: ModelCard): object {
  return {
    id,
    object: "model",
    created,
    owned_by: "kindred",
    root: id,
    parent,
    max_model_len: contextLength,
    permission: [],
  };
}

/** OpenAI's `system_fingerprint`: changes when the files behind a model's name do. */
export function systemFingerprint(completer: Completer, model: string): string {
  const created = findCard(completer, model)?.created ?? 0;
  return `fp_${sha256(`${model}\n${created}`).slice(0, 10)}`;
}

function findCard(completer: Completer, id: string): ModelCard | undefined {
  return completer.models().find((card) => card.id === id);
}
