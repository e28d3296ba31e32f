// The delivery log: filters, pages, and dead letters that are sent again.
import { call } from "./api.js";
import { closeAction, attempt, openDialog } from "./dialogs.js";
import { find, findAll, many, onAction, say } from "./dom.js";
import { refresh, startLive } from "./live.js";
import { readMoment, writeMoment, zone } from "./times.js";

const MOMENTS = ["since", "until"];
const filters = () => find("#filters");

function showMoments() {
  const asked = new URL(location.href).searchParams;
  for (const name of MOMENTS) {
    const date = new Date(asked.get(name) ?? "");
    const field = filters().elements[name];
    if (field && !Number.isNaN(date.getTime())) field.value = writeMoment(date);
  }
  for (const place of findAll("[data-zone]")) place.textContent = zone;
}

// The page's address says what is shown, so that it can be sent to somebody.
function address() {
  const url = new URL(location.href);
  url.searchParams.delete("cursor");
  for (const field of filters().elements) {
    if (!field.name) continue;
    const value = MOMENTS.includes(field.name) ? (readMoment(field.value)?.toISOString() ?? "") : field.value.trim();
    if (value) url.searchParams.set(field.name, value);
    else url.searchParams.delete(field.name);
  }
  return url;
}

async function apply() {
  history.replaceState(null, "", address());
  const region = find("[data-live]");
  region.dataset.live = "on";
  region.setAttribute("aria-busy", "true");
  const there = await refresh();
  find("[data-live]").removeAttribute("aria-busy");
  if (there) say(`${many(findAll("tbody tr").length, "delivery", "deliveries")} shown.`, { quietly: true });
}

async function clear() {
  for (const field of filters().elements) if (field.name) field.value = "";
  await apply();
  filters().elements[0].focus();
}

// --- dead letters ---

let chosen = null;

async function openRedeliver(button) {
  button.disabled = true;
  try {
    const asked = new URL(location.href).searchParams;
    const wanted = Object.fromEntries(
      ["webhook", "topic", "dag", "run", "until"].filter((name) => asked.get(name)).map((name) => [name, asked.get(name)]),
    );
    // The API wants to be told from when on; without a filter that is all that the log has.
    chosen = { dead_letters: true, since: asked.get("since") ?? "1970-01-01T00:00:00Z", ...wanted };
    showQuestion(await countDeadLetters());
  } catch (problem) {
    say(problem.message);
  } finally {
    button.disabled = false;
  }
}

const MOST = 1000;

async function countDeadLetters() {
  const asked = new URLSearchParams({ ...chosen, state: "dead_letter", limit: 100 });
  asked.delete("dead_letters");
  let [count, cursor] = [0, null];
  do {
    if (cursor) asked.set("cursor", cursor);
    const page = await call("GET", `/deliveries?${asked}`);
    count += page.deliveries.length;
    cursor = page.cursor;
  } while (cursor && count < MOST);
  return { count, more: Boolean(cursor) };
}

function showQuestion({ count, more }) {
  if (!count) return say("There are no dead letters among these deliveries.");
  const dialog = openDialog("redeliver");
  const words = more ? `More than ${count.toLocaleString("en")} dead letters` : many(count, "dead letter");
  find("[data-count]", dialog).textContent = words;
  const narrowed = Object.keys(chosen).some((name) => !["dead_letters", "since"].includes(name)) || chosen.since > "1971";
  find("[data-which]", dialog).textContent = narrowed ? "that the filters show" : "of the whole log";
}

async function redeliver() {
  const { redelivered } = await call("POST", "/deliveries/redeliver", chosen);
  find("#redeliver").close();
  await refresh();
  say(`${many(redelivered, "delivery", "deliveries")} due now.`);
}

// --- the tab of a task: the try that is chosen beside it ---

function chosenTry() {
  try {
    return window.parent === window ? null : new URLSearchParams(window.parent.location.search).get("try_number");
  } catch {
    return null;
  }
}

function followTry() {
  const field = filters()?.elements.try_number;
  if (!field || document.documentElement.dataset.frame !== "tab") return;
  let seen = null;
  const look = () => {
    const now = chosenTry() ?? "";
    if (now === seen) return;
    seen = now;
    if (field.value !== now) {
      field.value = now;
      apply();
    }
  };
  look();
  setInterval(look, 500);
}

filters()?.addEventListener("submit", (event) => {
  event.preventDefault();
  apply();
});
filters()?.addEventListener("change", (event) => event.target.matches("select") && apply());
find("#redeliver form")?.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(find("#redeliver"), event.submitter, redeliver);
});
onAction({ clear, close: closeAction, redeliver: openRedeliver });
if (filters()) showMoments();
startLive();
followTry();
