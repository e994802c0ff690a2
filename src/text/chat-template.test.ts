import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { InvalidFile, InvalidRequest } from "../core/index.js";
import { ChatTemplate } from "./chat-template.js";

const tokens = { path: "model", bosToken: "<s>", eosToken: "</s>", unkToken: undefined, padToken: undefined };
const say = (source: string, ...contents: string[]) => {
  const messages = contents.map((content, index) => ({ role: index % 2 === 0 ? "user" : "assistant", content }));
  return new ChatTemplate(source, tokens).render(messages);
};

test("renders a chat with the template of the model in this repository", () => {
  const template = new ChatTemplate(readFileSync("models/tiny/base/chat_template.jinja", "utf8"), tokens);
  const messages = [{ role: "user", content: "Tell me a story." }];
  const chat = "<|im_start|>user\nTell me a story.<|im_end|>\n";
  assert.equal(template.render(messages), `${chat}<|im_start|>assistant\n`);
  assert.equal(template.render(messages, { addGenerationPrompt: false }), chat);
});

test("drops the line breaks and indents around blocks", () => {
  const source =
    "{% for m in messages %}\n    {% if m.role == 'user' %}\n{{ m.content }}\n    {% endif %}\n{% endfor %}\nend";
  assert.equal(say(source, "one", "no", "two"), "one\ntwo\nend");
});

test("gives a template the tokens it may name and nothing for the tools it may ask about", () => {
  assert.equal(say("{{ bos_token }}{{ messages[0].content | trim }}{{ eos_token }}", " hi "), "<s>hi</s>");
  const source = "{% if pad_token is not defined and tools is none and documents is none %}none{% endif %}";
  assert.equal(say(source, "hi"), "none");
  assert.match(say("{{ strftime_now('%Y') }}", "hi"), /^20\d\d$/);
});

test("passes on why a template refuses a chat", () => {
  const source =
    "{% if messages[0].role != 'system' %}{{ raise_exception('Begin with a system message.') }}{% endif %}";
  assert.throws(
    () => say(source, "hi"),
    (error) => {
      return (
        error instanceof InvalidRequest &&
        error.param === "messages" &&
        /Begin with a system message\./.test(error.message)
      );
    },
  );
});

test("refuses a template that is malformed, and messages that one cannot handle", () => {
  assert.throws(
    () => say("{% for m in messages %}", "hi"),
    (error) => error instanceof InvalidFile && /malformed/.test(error.message),
  );
  assert.throws(() => say("{{ messages[0].content | no_such_filter }}", "hi"), InvalidRequest);
});
