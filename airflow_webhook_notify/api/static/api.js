// Calls the REST API; what it answers is a value or a Problem.
import { root } from "./dom.js";

export class Problem extends Error {
  // fields: what is wrong with each field of the body that was sent, by its name
  constructor(message, { status = 0, fields = {} } = {}) {
    super(message);
    this.status = status;
    this.fields = fields;
  }
}

const WORDS = {
  401: "You are signed out of Airflow. Sign in again in another tab, then try again.",
  403: "You may not do this: it needs permission to edit Connections.",
};

export async function call(method, path, body) {
  const options = { method, credentials: "same-origin", headers: { Accept: "application/json" } };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(`${root}/v1${path}`, options);
  } catch {
    throw new Problem("Airflow's API server can't be reached. Nothing was changed as far as this page knows.");
  }
  const value = await answer.json().catch(() => null);
  if (answer.ok && value !== null) return value;
  throw problemOf(answer.status, value?.detail);
}

function problemOf(status, detail) {
  const said = typeof detail === "string" ? detail : "";
  // Airflow's own answers say no more than that.
  const words = said && said !== "Forbidden" && status !== 401 ? said : WORDS[status];
  return new Problem(words ?? `Airflow's API server answered ${status}.`, { status });
}

export const webhookPath = (id, action = "") => `/webhooks/${encodeURIComponent(id)}${action && `/${action}`}`;
