// One webhook: what can be done with it.
import { call, webhookPath } from "./api.js";
import { copyAction } from "./copy.js";
import { attempt, closeAction, openDialog, showStep } from "./dialogs.js";
import { find, make, many, onAction, root, say, text, visible } from "./dom.js";
import { refresh, startLive } from "./live.js";
import { showSecret } from "./secret.js";
import { exactly } from "./times.js";
import { openEditForm, prepareForm } from "./webhook_form.js";

const { webhook: id, nickname } = find("main").dataset;

// A question in a dialog whose form asks `work` for the rest.
function answering(name, work) {
  const form = find(`#${name} form`);
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(find(`#${name}`), event.submitter, () => work(form));
  });
}

// --- ping ---

function openPing() {
  const dialog = openDialog("ping");
  showStep(dialog, "question");
}

answering("ping", async () => {
  const ping = await call("POST", webhookPath(id, "ping"));
  const dialog = find("#ping");
  showPing(dialog, ping);
  showStep(dialog, "outcome");
  find("[data-outcome]", dialog).focus();
  refresh();
});

function showPing(dialog, ping) {
  const taken = ping.status >= 200 && ping.status < 300;
  const badge = find("[data-badge]", dialog);
  badge.className = `badge ${taken ? "good" : "bad"}`;
  badge.textContent = taken ? `Taken: ${ping.status}` : ping.status ? `Refused: ${ping.status}` : "No answer";
  find("[data-duration]", dialog).textContent = `${ping.duration.toFixed(3)} s`;
  put(dialog, "trouble", [ping.error, ping.advice].filter(Boolean).join("\n"));
  put(dialog, "response", ping.response);
  find("[data-sent-headers]", dialog).replaceChildren(...ping.request.headers.map(headerRow));
  find("#ping-payload").textContent = visible(JSON.stringify(ping.request.payload, null, 2));
  find("[data-delivery]", dialog).href = `${root}/deliveries/${encodeURIComponent(ping.delivery_id)}`;
}

function put(dialog, name, words) {
  find(`[data-${name}-part]`, dialog).hidden = !words;
  find(`[data-${name}]`, dialog).textContent = visible(words ?? "");
}

const headerRow = ({ name, value }) => make("tr", {}, make("th", { scope: "row" }, text(name)), make("td", {}, text(value)));

// --- signing secret ---

answering("rotate", async (form) => {
  const overlap = Number(form.elements.overlap.value);
  const rotated = await call("POST", webhookPath(id, "rotate-secret"), { overlap });
  find("#rotate").close();
  const until = rotated.old_secret_until && exactly(new Date(rotated.old_secret_until));
  const words = until
    ? `The old secret signs too until ${until}. Put the new one into the receiver before then.`
    : "The old secret signs no more. Put the new one into the receiver now.";
  await showSecret(rotated.secret, { heading: "New signing secret", words });
  refresh();
});

// --- pause and resume ---

answering("pause", async (form) => {
  const reason = form.elements.reason.value.trim();
  await call("POST", webhookPath(id, "pause"), reason ? { reason } : {});
  find("#pause").close();
  await refresh();
  say(`${nickname} is paused: its deliveries wait.`);
});

async function resume(button) {
  button.disabled = true;
  try {
    const { waiting } = await call("POST", webhookPath(id, "resume"));
    await refresh();
    say(waiting ? `Resumed: ${many(waiting, "delivery", "deliveries")} waiting go out, oldest first.` : "Resumed.");
  } catch (problem) {
    say(problem.message);
  } finally {
    button.disabled = false;
  }
  if (!button.isConnected || button.hidden) find("h1").focus();
}

// --- delete ---

answering("delete", async (form) => {
  const typed = form.elements.name.value.trim();
  if (typed !== id) {
    find("#delete-error").textContent = `Type the webhook's id as it stands above to delete it.`;
    form.elements.name.focus();
    return;
  }
  await call("DELETE", webhookPath(id));
  location.assign(`${root}/#deleted`);
});

async function edit() {
  try {
    await openEditForm(id);
  } catch (problem) {
    say(problem.message);
  }
}

onAction({
  close: closeAction,
  copy: copyAction,
  edit,
  ping: openPing,
  rotate: () => openDialog("rotate"),
  pause: () => openDialog("pause"),
  resume,
  delete: () => openDialog("delete"),
});
prepareForm(async () => {
  await refresh();
  say("Saved.");
});
startLive();
