// One delivery: its attempts as they are made, and sending it again.
import { call } from "./api.js";
import { copyAction } from "./copy.js";
import { attempt, closeAction, openDialog } from "./dialogs.js";
import { find, onAction, root, say } from "./dom.js";
import { refresh, startLive } from "./live.js";

const { delivery: id } = find("main").dataset;

find("#redeliver form")?.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(find("#redeliver"), event.submitter, async () => {
    await call("POST", `/deliveries/${encodeURIComponent(id)}/redeliver`);
    find("#redeliver").close();
    await refresh();
    say("It is due now.");
  });
});

// Back to where the reader came from, with the filters that were set there.
function showWayBack() {
  const from = document.referrer;
  if (!from.startsWith(`${location.origin}${root}/`) || from.includes("/deliveries/")) return;
  const back = find("#back");
  back.href = from;
  if (from.includes("/webhook?")) back.textContent = "← Webhook";
}

onAction({ close: closeAction, copy: copyAction, redeliver: () => openDialog("redeliver") });
showWayBack();
startLive();
