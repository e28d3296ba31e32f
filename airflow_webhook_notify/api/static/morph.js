// Makes what is shown like what came anew, and leaves every node in place that can stay: the focus, a selection and the
// scroll position stay with it.

export function morph(shown, wanted) {
  copyAttributes(shown, wanted);
  const kept = byKey(shown);
  // First what is gone, so that what stays need not be moved: a moved node loses the focus.
  const keys = byKey(wanted);
  for (const [key, child] of kept) if (!keys.has(key)) child.remove();
  let place = shown.firstChild;
  for (const next of [...wanted.childNodes]) {
    const fit = partner(next, place, kept);
    if (!fit) {
      if (kept.size && next.dataset?.key) next.classList.add("new");
      shown.insertBefore(next, place);
      continue;
    }
    if (fit !== place) shown.insertBefore(fit, place);
    else place = place.nextSibling;
    if (fit.nodeType === Node.ELEMENT_NODE) morph(fit, next);
    else if (fit.data !== next.data) fit.data = next.data;
  }
  while (place) {
    const after = place.nextSibling;
    place.remove();
    place = after;
  }
}

function byKey(element) {
  return new Map([...element.children].filter((child) => child.dataset.key).map((child) => [child.dataset.key, child]));
}

function partner(next, place, kept) {
  const key = next.dataset?.key;
  if (key) return kept.get(key);
  if (!place || place.dataset?.key || place.nodeType !== next.nodeType) return null;
  return place.nodeName === next.nodeName ? place : null;
}

function copyAttributes(shown, wanted) {
  for (const { name, value } of [...wanted.attributes]) {
    if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  }
  for (const { name } of [...shown.attributes]) {
    // Whether it is open is up to whoever reads it.
    if (!wanted.hasAttribute(name) && !["open", "class"].includes(name)) shown.removeAttribute(name);
  }
}
