// The list of webhooks.
import { copyAction } from "./copy.js";
import { closeAction } from "./dialogs.js";
import { find, findAll, many, onAction, root, say } from "./dom.js";
import { startLive } from "./live.js";
import { showSecret } from "./secret.js";
import { openAddForm, prepareForm } from "./webhook_form.js";

const pageOf = (id) => `${root}/webhook?id=${encodeURIComponent(id)}`;

async function onAdded({ webhook, secret }) {
  if (secret) {
    const words = `The receiver of ${webhook.nickname} verifies with it what arrives.`;
    await showSecret(secret, { heading: "Signing secret", words });
  }
  location.assign(pageOf(webhook.id));
}

function filter() {
  const field = find("#filter");
  if (!field) return;
  const wanted = field.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const rows = findAll("tbody tr");
  let shown = 0;
  for (const row of rows) {
    const words = row.textContent.toLowerCase();
    row.hidden = !wanted.every((word) => words.includes(word));
    shown += !row.hidden;
  }
  find("#none").hidden = shown > 0 || !rows.length;
  find("#count").textContent = wanted.length ? `${shown} of ${many(rows.length, "webhook")}` : many(rows.length, "webhook");
}

onAction({ add: openAddForm, close: closeAction, copy: copyAction });
prepareForm(onAdded);
find("#filter")?.addEventListener("input", filter);
document.addEventListener("fresh", filter);
filter();
startLive();
if (location.hash === "#deleted") {
  history.replaceState(null, "", location.pathname);
  say("The webhook is deleted.");
}
