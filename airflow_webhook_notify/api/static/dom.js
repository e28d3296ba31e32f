// The few lines that every other module needs of the document.

export const root = document.body.dataset.root;

export const find = (selector, within = document) => within.querySelector(selector);
export const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];

// An element; its children are elements or texts, never markup.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Characters that show nothing or turn round what stands beside them, as the server writes them too.
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

export const visible = (text) =>
  String(text).replace(UNSEEN, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);

export const text = (value) => make("bdi", {}, visible(value));

export const many = (number, one, more = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : more}`;

// Says it to whoever looks, and to whoever listens.
let silence;
export function say(words, { quietly = false } = {}) {
  const place = find(quietly ? "#heard" : "#said");
  place.textContent = "";
  requestAnimationFrame(() => {
    place.textContent = words;
  });
  if (quietly) return;
  clearTimeout(silence);
  silence = setTimeout(() => {
    place.textContent = "";
  }, 8000);
}

// Clicks on what carries data-action, also on what is put into the page later.
export function onAction(actions) {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-action]");
    const action = button && actions[button.dataset.action];
    if (action && !button.disabled) action(button, event);
  });
  // After all of the module that calls this, which may prepare more.
  queueMicrotask(() => {
    for (const button of window.takePressed()) {
      // Meanwhile the focus may have gone on, and a dialog gives it back to where it was.
      button.focus();
      button.click();
    }
  });
}
