// Reads one signed request from standard input and exits 0 only where the named library takes it.
import { verify as octokit } from "@octokit/webhooks-methods";
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const { library, secret, headers, body } = JSON.parse(readFileSync(0, "utf8"));
const bytes = Buffer.from(body, "base64");

const libraries = {
  octokit: async () => {
    if (!(await octokit(secret, bytes.toString("utf8"), headers["x-hub-signature-256"]))) {
      throw new Error("no match");
    }
  },
  standardwebhooks: async () => {
    const webhook = secret.startsWith("whsec_")
      ? new Webhook(secret)
      : new Webhook(Buffer.from(secret, "utf8"), { format: "raw" });
    webhook.verify(bytes, headers, { jsonParse: false });
  },
};

try {
  await libraries[library]();
} catch (error) {
  console.log(error.message);
  process.exitCode = 3;
}
