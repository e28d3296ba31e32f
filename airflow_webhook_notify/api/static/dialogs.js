// Dialogs: opened with the focus where it belongs, closed to where it was, one request at a time.
import { find, findAll, visible } from "./dom.js";

export function openDialog(id) {
  const dialog = find(`#${id}`);
  clearProblems(dialog);
  const before = document.activeElement;
  dialog.showModal();
  find("[data-first]", dialog)?.focus();
  dialog.addEventListener(
    "close",
    () => {
      // What opened it may be gone meanwhile.
      if (!before.isConnected || before.hidden || before.disabled) find("h1").focus();
    },
    { once: true },
  );
  return dialog;
}

export const closeAction = (button) => button.closest("dialog").close();

// Shows one part of a dialog, such as its question or its outcome.
export function showStep(dialog, name) {
  for (const part of findAll("[data-step]", dialog)) part.hidden = part.dataset.step !== name;
}

// Runs what a form or a button asks for, once; what goes wrong is shown in the dialog.
export async function attempt(dialog, button, work) {
  if (button.disabled) return;
  clearProblems(dialog);
  const words = button.textContent;
  button.disabled = true;
  button.textContent = button.dataset.busy ?? words;
  try {
    await work();
  } catch (problem) {
    if (problem.status === undefined) throw problem;
    showProblem(dialog, problem);
  } finally {
    button.disabled = false;
    button.textContent = words;
  }
}

function clearProblems(dialog) {
  for (const place of findAll(".error", dialog)) place.textContent = "";
  for (const field of findAll("[aria-invalid]", dialog)) field.removeAttribute("aria-invalid");
}

function showProblem(dialog, problem) {
  const fields = { ...problem.fields };
  const named = Object.keys(fields).length ? null : namedIn(dialog, problem.message);
  if (named) fields[named.dataset.field] = problem.message.slice(problem.message.indexOf(":") + 1).trim();
  const places = Object.entries(fields).map(([name, words]) => mark(dialog, name, words));
  const first = places.find(Boolean);
  if (!first || places.includes(null)) find("[data-problem]", dialog).textContent = visible(problem.message);
  reveal(first ?? find("[data-problem]", dialog));
}

// The server's errors begin with the field, as its label or the request has it: `Endpoint URL: is plain http …`.
function namedIn(dialog, message) {
  return findAll("[data-field]", dialog).find(({ dataset }) =>
    [dataset.field, ...dataset.label.split("|")].some(
      (name) => message.startsWith(`${name}:`) || message.startsWith(`${name},`) || message.startsWith(`${name}.`),
    ),
  );
}

function mark(dialog, name, words) {
  const field = find(`[data-field="${CSS.escape(name)}"]`, dialog);
  if (!field) return null;
  find(".error", field).textContent = visible(words);
  for (const input of findAll("input, select, textarea", field)) input.setAttribute("aria-invalid", "true");
  return field;
}

function reveal(place) {
  const folded = place.closest("details:not([open])");
  if (folded) folded.open = true;
  const input = find("input:not([hidden]), select, textarea", place);
  (input ?? place).focus();
  place.scrollIntoView({ block: "nearest" });
}
