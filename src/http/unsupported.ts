import { isDeepStrictEqual } from "node:util";
import { InvalidRequest } from "../core/index.js";
import { excerpt, type Fields } from "./fields.js";

/**
 * Fields that would change the answer and that this server does not act on, each with the values that ask for
 * nothing; null and absent always do. Any other value is refused: ignoring it would answer another question.
 */
export type NeutralValues = Readonly<Record<string, readonly unknown[]>>;

/** Of a chat completion: OpenAI's fields, then the extensions that other servers have made common. */
export const chatNeutralValues: NeutralValues = {
  tools: [[]],
  tool_choice: ["none", "auto"],
  functions: [[]],
  function_call: ["none", "auto"],
  response_format: [{ type: "text" }],
  modalities: [["text"]],
  audio: [],
  prediction: [],
  reasoning_effort: ["none"],
  verbosity: ["medium"],
  web_search_options: [],
  chat_template: [],
  chat_template_kwargs: [{}],
  documents: [[]],
  echo: [false],
  add_generation_prompt: [true],
  continue_final_message: [false],
};

/** Of a message in a chat. */
export const messageNeutralValues: NeutralValues = { tool_calls: [[]], function_call: [], audio: [] };

/** Of a text completion. */
export const textNeutralValues: NeutralValues = { suffix: [""], echo: [false], best_of: [1] };

/** Of both: extensions that other servers have made common. */
export const sharedNeutralValues: NeutralValues = {
  stop_token_ids: [[]],
  bad_words: [[]],
  allowed_token_ids: [],
  include_stop_str_in_output: [false],
  skip_special_tokens: [true],
  prompt_logprobs: [],
  truncate_prompt_tokens: [],
  use_beam_search: [false],
  length_penalty: [1],
  structured_outputs: [],
  guided_json: [],
  guided_regex: [],
  guided_choice: [],
  guided_grammar: [],
  grammar: [],
  json_schema: [],
};

/** Of `stream_options`. */
export const streamNeutralValues: NeutralValues = { continuous_usage_stats: [false] };

/** @throws {InvalidRequest} naming the first field of `neutral` that asks for something */
export function refuseUnsupported(fields: Fields, neutral: NeutralValues): void {
  for (const [name, values] of Object.entries(neutral)) {
    const value = fields.value(name);
    if (value === undefined || values.some((neutralValue) => isDeepStrictEqual(value, neutralValue))) continue;
    throw unsupported(
      fields.path(name),
      `${fields.path(name)} is ${excerpt(value)}, which this server does not support`,
    );
  }
}

/** The error for something valid in OpenAI's API that this server does not do. */
export function unsupported(param: string, message: string): InvalidRequest {
  return new InvalidRequest(param, message, "unsupported_parameter");
}
