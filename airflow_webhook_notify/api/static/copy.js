// Copies a text; where the frame may not, it selects the text, so that a key is enough.
import { find, say } from "./dom.js";

export async function copyFrom(place) {
  const words = place.value ?? place.textContent;
  try {
    await navigator.clipboard.writeText(words);
    say("Copied.");
    return;
  } catch {
    // No permission, or a page without TLS: there is no clipboard.
  }
  select(place);
  // Deprecated, and the only way that needs no permission.
  const copied = document.execCommand("copy");
  say(copied ? "Copied." : "Selected: press Ctrl+C, or ⌘C, to copy it.");
}

function select(place) {
  const range = document.createRange();
  range.selectNodeContents(place);
  const selection = getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}

export const copyAction = (button) => copyFrom(find(`#${button.dataset.copies}`));
