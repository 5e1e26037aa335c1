// Signs a webhook with GitHub's own library, as its service does.
//
// usage: hook_signatures.mjs < body. Environment: SECRET, MODULES. Prints the header's value.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const folder = join(process.env.MODULES, "node_modules/@octokit/webhooks-methods");
const { exports } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
const { sign } = await import(pathToFileURL(join(folder, exports["."].node.import)));
console.log(await sign(process.env.SECRET, readFileSync(0, "utf8")));
