// Talks to /v1 with the official OpenAI library for Node. The model behind the gateway echoes.
// Environment: BASE_URL, TOKEN, MODULES (a folder with node_modules). Prints `passed` at the end.
import assert from "node:assert/strict";
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const entry = createRequire(process.env.MODULES + "/").resolve("openai");
const {default: OpenAI} = await import(pathToFileURL(entry).href);
const client = new OpenAI({baseURL: process.env.BASE_URL, apiKey: process.env.TOKEN, maxRetries: 0, timeout: 60_000});

const answer = await client.chat.completions.create({model: "moltbot", messages: [{role: "user", content: "say one"}], user: "node"});
assert.match(answer.choices[0].message.content, /say one/);
assert.equal(answer.choices[0].finish_reason, "stop");
assert.ok(answer.usage.total_tokens > 0);

let text = "", finish = null, usage = null;
const stream = await client.chat.completions.create({
    model: "openclaw/main", messages: [{role: "user", content: "say two"}], stream: true, stream_options: {include_usage: true},
});
for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    finish = chunk.choices[0]?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
}
assert.match(text, /say two/);
assert.equal(finish, "stop");
assert.ok(usage.total_tokens > 0);

const stranger = new OpenAI({baseURL: process.env.BASE_URL, apiKey: "wrong", maxRetries: 0});
await assert.rejects(stranger.chat.completions.create({model: "moltbot", messages: [{role: "user", content: "x"}]}), (error) => error.status === 401);
console.log("passed");
