// Shows each <time> in the time zone that is chosen in Airflow, and how long ago or ahead it is.
import { findAll } from "./dom.js";

function chosenZone() {
  try {
    const kept = localStorage.getItem("timezone");
    const zone = kept?.startsWith('"') ? JSON.parse(kept) : kept;
    if (zone && zone !== "local") {
      new Intl.DateTimeFormat("en", { timeZone: zone });
      return zone;
    }
  } catch {
    // No storage, or a zone that this browser does not know.
  }
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}

export const zone = chosenZone();

const FORMAT = new Intl.DateTimeFormat("sv-SE", {
  timeZone: zone,
  year: "numeric",
  month: "2-digit",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const CLOSE = new Intl.RelativeTimeFormat("en", { numeric: "always" });
const UNITS = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1000],
];

export const exactly = (date) => FORMAT.format(date);

export function roughly(date, now = Date.now()) {
  const distance = date - now;
  if (Math.abs(distance) < 1500) return "now";
  const [unit, length] = UNITS.find(([, size]) => Math.abs(distance) >= size) ?? UNITS.at(-1);
  return CLOSE.format(Math.trunc(distance / length), unit);
}

export function showTimes(within) {
  for (const time of findAll("time[datetime]", within)) {
    const date = new Date(time.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    const [exact, rough] = [exactly(date), roughly(date)];
    const words = { exact, rough, both: `${exact} (${rough})` }[time.dataset.show ?? "rough"];
    if (time.textContent !== words) time.textContent = words;
    time.title = `${exact} (${zone})`;
  }
}

// The moment that a field of type datetime-local holds, in the zone shown; null where it is empty.
export function readMoment(value) {
  const wanted = Date.parse(`${value}Z`);
  if (Number.isNaN(wanted)) return null;
  // The zone's distance from UTC depends on the moment, so look again from where the first look leads.
  const first = wanted - offset(wanted);
  return new Date(wanted - offset(first));
}

// What a field of type datetime-local shows for a moment.
export function writeMoment(date) {
  return new Date(date.getTime() + offset(date.getTime())).toISOString().slice(0, 16);
}

function offset(moment) {
  const shown = Date.parse(`${FORMAT.format(new Date(moment)).replace(" ", "T")}Z`);
  return shown - Math.trunc(moment / 1000) * 1000;
}
