// Looks at the gateway's certificate with Node's TLS, then chats over a WebSocket of Node's own: both believe the one
// certificate in NODE_EXTRA_CA_CERTS. The model behind the gateway echoes.
// Environment: HOST, PORT, TOKEN, FINGERPRINT, NODE_EXTRA_CA_CERTS. Prints `passed` at the end.
import assert from "node:assert/strict";
import {once} from "node:events";
import tls from "node:tls";

const {HOST, PORT, TOKEN, FINGERPRINT} = process.env;

const looked = tls.connect({host: HOST, port: Number(PORT), ALPNProtocols: ["h2", "http/1.1"]});
await once(looked, "secureConnect");
assert.ok(looked.authorized, looked.authorizationError);
assert.equal(looked.getPeerCertificate().fingerprint256, FINGERPRINT);
assert.equal(looked.alpnProtocol, "http/1.1");
assert.ok(["TLSv1.2", "TLSv1.3"].includes(looked.getProtocol()), looked.getProtocol());
looked.destroy();

// Versions that are broken are not spoken, whatever the client would put up with.
const old = tls.connect({host: HOST, port: Number(PORT), minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0"});
const outcome = await Promise.race([once(old, "secureConnect").then(() => "agreed"), once(old, "error").then(([error]) => error.code)]).catch((error) => error.code);
assert.notEqual(outcome, "agreed");

const socket = new WebSocket(`wss://${HOST}:${PORT}/`);
const waiting = new Map();
let finished;
const final = new Promise((resolve) => { finished = resolve; });
const call = (method, params) => new Promise((resolve, reject) => {
    const id = `${method}-${waiting.size}`;
    waiting.set(id, {resolve, reject});
    socket.send(JSON.stringify({type: "req", id, method, params}));
});
const challenged = new Promise((resolve, reject) => {
    socket.addEventListener("error", () => reject(new Error("the WebSocket could not be opened")));
    socket.addEventListener("message", ({data}) => {
        const frame = JSON.parse(data);
        if (frame.type === "res") {
            const {resolve: done, reject: failed} = waiting.get(frame.id);
            return frame.ok ? done(frame.payload) : failed(new Error(JSON.stringify(frame.error)));
        }
        if (frame.event === "connect.challenge") resolve();
        if (frame.event === "chat" && frame.payload.state === "final") finished(frame.payload);
    });
});
await challenged;
const hello = await call("connect", {
    minProtocol: 3, maxProtocol: 4, client: {id: "cli", version: "1", platform: "linux", mode: "cli"},
    role: "operator", scopes: ["operator.read", "operator.write"], auth: {token: TOKEN},
});
assert.equal(hello.type, "hello-ok");
await call("chat.send", {sessionKey: "main", message: "over tls", idempotencyKey: "one"});
const said = await final;
assert.match(said.message.content[0].text, /over tls/);
socket.close();
console.log("passed");
