// Keeps a part of the page as the server would show it now, while anybody looks, and says when that stops working.
import { find, say } from "./dom.js";
import { morph } from "./morph.js";
import { exactly, showTimes } from "./times.js";

const SLOWEST = 60_000;

let timer;
let failures = 0;
let fresh = Date.now();
let asked = 0;

const region = () => find("[data-live]");

export function startLive() {
  showTimes(document);
  setInterval(() => document.hidden || showTimes(document), 15_000);
  if (!region()) return;
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
  schedule();
}

function schedule() {
  clearTimeout(timer);
  if (region().dataset.live === "off") return show("off", "Older deliveries: not live");
  const every = 1000 * (region().dataset.every ?? 4);
  timer = setTimeout(refresh, Math.min(every * 2 ** failures, SLOWEST));
}

// Shows what the server has now; true where it could be had.
export async function refresh() {
  clearTimeout(timer);
  const mine = ++asked;
  try {
    const answer = await fetch(location.href, { credentials: "same-origin", headers: { Accept: "text/html" } });
    if (!answer.ok || !answer.headers.get("content-type")?.startsWith("text/html")) throw new Error(reason(answer));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    // Meanwhile somebody may have asked for something else.
    if (mine === asked) take(page);
    return true;
  } catch (error) {
    if (mine === asked) fail(error);
    return false;
  } finally {
    if (mine === asked && !document.hidden) schedule();
  }
}

function reason(answer) {
  if (answer.status === 401) return "you are signed out of Airflow";
  if (answer.status === 403) return "you may no longer see this";
  return `the API server answers ${answer.status}`;
}

function take(page) {
  const next = find("[data-live]", page);
  if (!next) throw new Error("the API server answers with another page");
  const before = keys(region());
  showTimes(next);
  morph(region(), next);
  // What a page of its own has done to the rows, it has to do again.
  document.dispatchEvent(new Event("fresh"));
  failures = 0;
  fresh = Date.now();
  show("on", "Live");
  tell([...keys(region())].filter((key) => !before.has(key)).length);
}

const keys = (within) => new Set([...within.querySelectorAll("[data-key]")].map((row) => row.dataset.key));

function tell(arrived) {
  const word = region().dataset.rows;
  if (arrived && word) say(`${arrived} new ${word}`, { quietly: true });
}

function fail(error) {
  failures += 1;
  const why = error instanceof TypeError ? "Airflow's API server can't be reached" : error.message;
  show("failed", `Not live since ${exactly(new Date(fresh)).slice(-8)}: ${why}. Trying again.`);
}

function show(state, words) {
  const place = find("#live");
  if (!place || (place.dataset.state === state && place.textContent === words)) return;
  place.dataset.state = state;
  place.textContent = words;
}
