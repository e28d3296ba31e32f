// What has to be there before all else: the theme before anything is painted, and an ear for whoever is quick.
(() => {
  // Airflow's light or dark theme, and each change of it.
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");

  // The page stands in a frame of Airflow's, of the same origin; elsewhere reading its parent throws.
  const frame = () => {
    try {
      return window.parent === window ? null : window.parent.document.documentElement;
    } catch {
      return null;
    }
  };

  const kept = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null;
    }
  };

  const theme = () => {
    const outer = frame();
    if (outer?.dataset.theme) return outer.dataset.theme;
    if (outer) return outer.classList.contains("dark") ? "dark" : "light";
    const chosen = kept();
    return chosen === "dark" || chosen === "light" ? chosen : dark.matches ? "dark" : "light";
  };

  const show = () => {
    root.dataset.theme = theme() === "dark" ? "dark" : "light";
  };

  const outer = frame();
  if (outer) {
    new MutationObserver(show).observe(outer, { attributeFilter: ["class", "data-theme"] });
    if (!window.parent.location.pathname.includes("/plugin/")) root.dataset.frame = "tab";
  }
  dark.addEventListener("change", show);
  window.addEventListener("storage", show);
  show();

  // What is pressed before the page's own scripts are there waits for them.
  const pressed = [];
  const hear = (event) => {
    const button = event.target.closest?.("[data-action]");
    if (button) pressed.push(button);
  };
  const hold = (event) => event.preventDefault();
  addEventListener("click", hear, true);
  addEventListener("submit", hold, true);
  window.takePressed = () => {
    removeEventListener("click", hear, true);
    removeEventListener("submit", hold, true);
    return pressed.splice(0);
  };
})();
