// Imports the snippet named by the first argument, gives it each request on standard input, and says what it did.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { readEvent } = await import(pathToFileURL(process.argv[2]).href);
const outcomes = [];
for (const { body, headers } of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    outcomes.push((await readEvent(Buffer.from(body, "base64"), headers)).Id);
  } catch (error) {
    outcomes.push(null);
  }
}
console.log(JSON.stringify(outcomes));
