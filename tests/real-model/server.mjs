// A small OpenAI-compatible server on loopback around a real model: POST /v1/chat/completions, GET /v1/models.
// For tests: one request at a time, the model's own chat template, no tools of its own. Tool descriptions go into the
// system prompt in the form that Qwen was trained on, and the model's answer goes out as it is.
//
// Usage: server.mjs MODEL.gguf NAME PORT
import http from "node:http";
import os from "node:os";
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const [file, name, port] = process.argv.slice(2);
const entry = createRequire(process.env.MODEL_MODULES + "/").resolve("node-llama-cpp");
const {getLlama, LlamaCompletion} = await import(pathToFileURL(entry).href);
const llama = await getLlama({gpu: false, build: "never", skipDownload: true, logLevel: "error"});
const model = await llama.loadModel({modelPath: file, useMmap: true});
const contextSize = 8192;
// More threads than cores wait for each other in a busy loop: ten times slower.
const threads = Math.max(1, os.availableParallelism());

const turn = (role, text) => `<|im_start|>${role}\n${text}<|im_end|>\n`;

function text(content) {
    if (typeof content === "string") return content;
    return (content ?? []).map((part) => part.text ?? "").join("");
}

function prompt({messages, tools}) {
    let system = messages.filter((m) => m.role === "system" || m.role === "developer").map((m) => text(m.content)).join("\n\n");
    if (tools?.length && messages.at(-1).role !== "tool") {
        const list = tools.map((tool) => JSON.stringify({type: "function", function: tool.function})).join("\n");
        system += `\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n<tools>\n${list}\n</tools>\n\n` +
            `For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n` +
            `<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>`;
    }
    let out = turn("system", system);
    for (const message of messages) {
        if (message.role === "user") out += turn("user", text(message.content));
        // A model of this size repeats a call that it sees: what a tool answered is told instead, in words.
        if (message.role === "tool") out += turn("user", `The command printed:\n\n${text(message.content)}\n\nAnswer in one sentence.`);
        if (message.role === "assistant" && text(message.content)) out += turn("assistant", text(message.content));
    }
    return out + "<|im_start|>assistant\n";
}

async function complete(body, emit, signal) {
    const context = await model.createContext({contextSize, threads});
    try {
        const completion = new LlamaCompletion({contextSequence: context.getSequence()});
        const input = model.tokenize(prompt(body), true);
        const room = contextSize - input.length - 8;
        if (room < 16) throw Object.assign(new Error("maximum context length exceeded"), {status: 400, code: "context_length_exceeded"});
        let written = "";
        await completion.generateCompletion(input, {
            maxTokens: Math.min(body.max_tokens ?? body.max_completion_tokens ?? 512, 512, room),
            temperature: 0, signal, stopOnAbortSignal: true, customStopTriggers: ["<|im_end|>", "<|endoftext|>"],
            onTextChunk: (chunk) => { written += chunk; emit(chunk); },
        });
        const output = model.tokenize(written).length;
        return {written, usage: {prompt_tokens: input.length, completion_tokens: output, total_tokens: input.length + output}};
    } finally {
        await context.dispose();
    }
}

let queue = Promise.resolve();
const server = http.createServer((request, response) => {
    const json = (status, value) => response.writeHead(status, {"content-type": "application/json"}).end(JSON.stringify(value));
    if (request.method === "GET" && request.url === "/v1/models") return json(200, {object: "list", data: [{id: name, object: "model"}]});
    if (request.method !== "POST" || request.url !== "/v1/chat/completions") return json(404, {error: {message: "not found"}});
    let data = "";
    request.on("data", (chunk) => { data += chunk; });
    request.on("end", () => { queue = queue.then(() => answer(JSON.parse(data))).catch((error) => console.error(error)); });
    async function answer(body) {
        const stop = new AbortController();
        response.on("close", () => stop.abort());
        const base = {id: "chatcmpl-real", created: Math.floor(Date.now() / 1000), model: name};
        const send = (value) => response.write(`data: ${JSON.stringify(value)}\n\n`);
        const chunk = (delta, finish = null) => ({...base, object: "chat.completion.chunk", choices: [{index: 0, delta, finish_reason: finish}]});
        try {
            if (body.stream) response.writeHead(200, {"content-type": "text/event-stream"});
            const {written, usage} = await complete(body, (part) => body.stream && send(chunk({content: part})), stop.signal);
            if (!body.stream) {
                return json(200, {...base, object: "chat.completion", usage,
                    choices: [{index: 0, message: {role: "assistant", content: written}, finish_reason: "stop"}]});
            }
            send(chunk({}, "stop"));
            send({...base, object: "chat.completion.chunk", choices: [], usage});
            response.end("data: [DONE]\n\n");
        } catch (error) {
            if (response.headersSent) return response.end();
            json(error.status ?? 500, {error: {message: error.message, code: error.code ?? "server_error"}});
        }
    }
});
server.listen(Number(port), "127.0.0.1", () => console.log(`ready on ${server.address().port}`));
