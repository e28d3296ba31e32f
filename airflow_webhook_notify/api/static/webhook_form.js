// The form of a webhook, to add one or to edit one: only what was changed is sent.
import { Problem, call, webhookPath } from "./api.js";
import { find, findAll, visible } from "./dom.js";
import { attempt, openDialog } from "./dialogs.js";

const NUMBERS = ["roll_up", "rate", "heartbeat", "timeout", "connect_timeout"];
const FLAGS = ["retries", "verify", "allow_http"];
const LISTS = ["dags", "tags"];
const TEXTS = ["nickname", "endpoint", "level", "ca_bundle"];
// What the server never tells again: kept unless something new is given.
const HIDDEN = ["authorization", "proxy"];

const dialog = () => find("#webhook-form");
const form = () => find("form", dialog());
const input = (name) => form().elements[name];

export function prepareForm(onSaved) {
  if (!dialog()) return;
  form().addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(dialog(), event.submitter ?? find("[type=submit]", form()), () => save(onSaved));
  });
  find("#add-header").addEventListener("click", () => find("input", addHeaderRow()).focus());
  find("#header-rows").addEventListener("click", (event) => event.target.closest("[data-remove]") && removeRow(event.target));
  if (dialog().dataset.mode === "add") suggestId();
}

export function openAddForm() {
  form().reset();
  find("#header-rows").replaceChildren();
  openDialog("webhook-form");
}

let edited = null;

export async function openEditForm(id) {
  edited = await call("GET", webhookPath(id));
  form().reset();
  fill(edited);
  openDialog("webhook-form");
}

// The id follows the nickname until somebody writes one.
function suggestId() {
  const [nickname, id] = [input("nickname"), input("id")];
  let suggested = "";
  nickname.addEventListener("input", () => {
    if (id.value !== suggested) return;
    suggested = nickname.value
      .normalize("NFKD")
      .toLowerCase()
      .replace(/\p{M}/gu, "")
      .replace(/[^a-z0-9]+/g, "_")
      .replace(/^_+|_+$/g, "")
      .slice(0, 60);
    id.value = suggested;
  });
  form().addEventListener("reset", () => {
    suggested = "";
  });
}

// --- from a webhook into the form ---

function fill(webhook) {
  for (const name of [...TEXTS, ...NUMBERS]) input(name).value = webhook[name] ?? "";
  for (const name of FLAGS) input(name).checked = webhook[name];
  for (const name of LISTS) input(name).value = webhook[name].join("\n");
  for (const box of topicBoxes()) box.checked = webhook.topics.includes(box.value);
  for (const name of HIDDEN) {
    const set = webhook[name] === "set";
    input(name).placeholder = set ? "Set; leave empty to keep it" : "Not set";
    find(`[data-remove-for="${name}"]`).hidden = !set;
  }
  fillHeaders(webhook.header_names);
}

// Their values are never told again: one that is set stays as it is, is given anew by a row of its name, or removed.
function fillHeaders(names) {
  find("#header-rows").replaceChildren();
  const rows = names.map((name) => {
    const row = find("#kept-header").content.firstElementChild.cloneNode(true);
    row.dataset.name = name;
    find("bdi", row).textContent = visible(name);
    return row;
  });
  find("#kept-headers").replaceChildren(...rows);
}

const topicBoxes = () => findAll('input[name="topics"]', form());

// --- from the form into what is sent ---

function read() {
  const values = {};
  for (const name of TEXTS) values[name] = input(name).value.trim();
  for (const name of FLAGS) values[name] = input(name).checked;
  for (const name of LISTS) values[name] = linesOf(input(name).value);
  for (const name of NUMBERS) values[name] = numberOf(name);
  values.topics = topicBoxes()
    .filter((box) => box.checked)
    .map((box) => box.value);
  if (!values.topics.length) throw new Problem("Choose at least one topic.", { fields: { topics: "Choose at least one." } });
  return values;
}

const linesOf = (words) => words.split("\n").map((line) => line.trim()).filter(Boolean);

function numberOf(name) {
  const field = input(name);
  const words = field.value.trim().replace(",", ".");
  if (words === "" && !field.validity.badInput) return null;
  const number = Number(words);
  if (words === "" || Number.isNaN(number)) {
    throw new Problem("Some fields can't be used as they are.", { fields: { [name]: "Write a number." } });
  }
  return number;
}

function headersOf() {
  const rows = findAll(".header-row", form()).map((row) => findAll("input", row).map((field) => field.value.trim()));
  return Object.fromEntries(rows.filter(([name, value]) => name || value));
}

async function save(onSaved) {
  const values = read();
  if (dialog().dataset.mode === "add") {
    const made = await call("POST", "/webhooks", newBody(values));
    dialog().close();
    onSaved(made);
    return;
  }
  const body = changes(values);
  if (Object.keys(body).length) await call("PATCH", webhookPath(edited.id), body);
  dialog().close();
  onSaved(edited);
}

function newBody(values) {
  const body = { id: input("id").value.trim(), ...values, headers: headersOf() };
  for (const name of [...HIDDEN, "secret"]) body[name] = input(name).value;
  // What was left empty is left to the server's defaults.
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null && value !== ""));
}

function changes(values) {
  const same = (one, other) => JSON.stringify(one ?? "") === JSON.stringify(other ?? "");
  const body = Object.fromEntries(Object.entries(values).filter(([name, value]) => !same(value, edited[name])));
  for (const name of HIDDEN) {
    if (input(name).value) body[name] = input(name).value;
    else if (find(`[data-remove-for="${name}"] input`).checked) body[name] = null;
  }
  const removed = findAll("#kept-headers > *").filter((row) => find("input", row).checked);
  const headers = { ...Object.fromEntries(removed.map((row) => [row.dataset.name, null])), ...headersOf() };
  if (Object.keys(headers).length) body.headers = headers;
  return body;
}

// --- rows of extra headers ---

function addHeaderRow() {
  const row = find("#header-row").content.firstElementChild.cloneNode(true);
  find("#header-rows").append(row);
  return row;
}

function removeRow(button) {
  button.closest(".header-row").remove();
  find("#add-header").focus();
}
