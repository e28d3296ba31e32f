// Shows a signing secret, this once: it is nowhere else in the page, and is gone with the dialog.
import { find, visible } from "./dom.js";
import { openDialog } from "./dialogs.js";
import { copyFrom } from "./copy.js";

export function showSecret(secret, { heading, words }) {
  const dialog = find("#secret");
  let kept = false;
  find("h2", dialog).textContent = heading;
  find("[data-words]", dialog).textContent = visible(words);
  find("#secret-value").textContent = secret;
  find("[data-problem]", dialog).textContent = "";
  // One press of Escape must not cost the only sight of it.
  const stay = (event) => {
    if (kept) return;
    event.preventDefault();
    kept = true;
    find("[data-problem]", dialog).textContent = "Copy the secret first: it is not shown again. Press Escape once more to close.";
  };
  const copy = find("[data-copy-secret]", dialog);
  copy.onclick = () => {
    kept = true;
    copyFrom(find("#secret-value"));
  };
  dialog.addEventListener("cancel", stay);
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        dialog.removeEventListener("cancel", stay);
        find("#secret-value").textContent = "";
        resolve();
      },
      { once: true },
    );
    openDialog("secret");
  });
}
