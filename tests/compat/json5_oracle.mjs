// Reads texts as the npm package json5 does: a file with a JSON list of texts in, a JSON list of outcomes out.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const JSON5 = createRequire(`${process.env.MODULES}/`)("json5");
console.warn = () => {};
const outcome = (text) => {
  try {
    return { value: JSON5.parse(text) };
  } catch {
    return { refused: true };
  }
};
process.stdout.write(JSON.stringify(JSON.parse(readFileSync(process.argv[2], "utf8")).map(outcome)));
