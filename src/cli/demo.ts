import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { styleText } from "node:util";
import type { Command } from "commander";
import { defaultEngineOptions } from "../engine/index.js";
import { createApp, listen } from "../http/index.js";
import { describe } from "./serve.js";
import { openService } from "./wire.js";

/** One question of its own kind for the base and for each embedded fine-tune. */
const questions: readonly { model: string; ask: string; note: string }[] = [
  { model: "tiny", ask: "What does harbour mean?", note: "the base: a dictionary and a story-teller" },
  { model: "banking77", ask: "My card has not arrived yet", note: "bank message → intent" },
  { model: "clinc", ask: "how much money do i have in savings", note: "utterance → intent" },
  { model: "dates", ask: "the 3rd of May 1987", note: "date → ISO 8601" },
  { model: "roman", ask: "1987", note: "number → Roman numeral" },
  { model: "scan", ask: "walk left twice and jump", note: "command → actions" },
  { model: "shakespeare", ask: "O Romeo, Romeo! wherefore art thou Romeo?", note: "a line → the lines that follow" },
  { model: "wikisql", ask: "what is the score when the opponent is france ?", note: "question → SQL" },
];

interface Flags {
  readonly serve?: boolean;
  readonly port: number;
}

export function register(program: Command): void {
  program
    .command("demo")
    .description("serve the embedded base with seven full fine-tunes of it and ask each a question, all in one batch")
    .option("--serve", "leave the server up afterwards")
    .option("--port <number>", "port to listen on; 0 takes a free one", Number, 0)
    .action(demo);
}

async function demo(flags: Flags): Promise<void> {
  const folder = fileURLToPath(new URL("../../models/tiny/", import.meta.url));
  let together = 0;
  await using service = await openService({
    base: `${folder}base`,
    name: "tiny",
    variants: `${folder}variants`,
    engine: { ...defaultEngineOptions, contextLength: 512 },
    onEvent: (event) => {
      if (event.type === "step") together = Math.max(together, event.sequences);
    },
  });
  console.log(describe(service));
  const server = await listen(createApp({ completer: service.completer }), { port: flags.port });
  try {
    // A first token from everybody, so that the variants lie in their slots before the questions come together.
    await Promise.all(questions.map(({ model, ask }) => chat(server.url, model, ask, 1)));
    together = 0;
    const startedMs = performance.now();
    const answers = await Promise.all(questions.map(({ model, ask }) => chat(server.url, model, ask, 60)));
    const tookMs = performance.now() - startedMs;
    questions.forEach(({ model, ask, note }, index) => {
      console.log(
        `\n${styleText("bold", model)} ${styleText("dim", `(${note})`)}\n  ${ask}\n  → ${answers[index]!.trim().replaceAll("\n", "\n    ")}`,
      );
    });
    console.log(
      `\n${questions.length} requests in ${tookMs.toFixed(0)} ms; up to ${together} of them computed in one step`,
    );
    if (!flags.serve) return;
    console.log(`\nStill listening on ${server.url}/v1 until Ctrl-C. Try:
  curl ${server.url}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{"model": "roman", "messages": [{"role": "user", "content": "2026"}], "temperature": 0}'`);
    await once(process, "SIGINT");
  } finally {
    await server.close();
  }
}

async function chat(url: string, model: string, content: string, maxTokens: number): Promise<string> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model, messages: [{ role: "user", content }], temperature: 0, max_tokens: maxTokens }),
  });
  const body = (await response.json()) as { choices?: { message: { content: string } }[]; error?: { message: string } };
  return body.choices?.[0]?.message.content ?? `(failed: ${body.error?.message})`;
}
