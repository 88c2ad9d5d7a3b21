// The page for people. It uses the REST API as every client does, and shows its answers as text.

import { byId, decimal, drawn, element, percent, show, signedPercent } from "./elements.js";
import { showChart } from "./chart.js";

const API = "api/v1/";
const POLL_SECONDS = 10;
const MOST_FOLLOWED = 3; // A browser opens six connections to a host at most.
const MOST_TEXT = 40;
const NAMES = {
  refresh: "Refresh",
  compute: "Index computation",
  report: "Report",
  cleanup: "Cleanup",
};
const FIGURES = [
  ["Annual return", "annual_return", signedPercent],
  ["Annual volatility", "annual_volatility", percent],
  ["Sharpe ratio", "sharpe_ratio", decimal],
  ["Max drawdown", "max_drawdown", percent],
  ["Beta to the benchmark", "beta", decimal],
];

const times = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const rows = new Map(); // the tasks that are shown, by id
const followed = new Set(); // the ids of tasks that are followed
const stale = new Set(); // what to read again: "index", "reports"
let token = null;
let user = null;
let scopes = [];
let timer = null;
let session = new AbortController(); // ends every request of a user who signs out

// The API

class Problem extends Error {
  constructor(status, detail, seconds) {
    super(detail);
    this.status = status;
    this.seconds = seconds;
  }
}

async function ask(path, options = {}) {
  const headers = { ...options.headers, Authorization: `Bearer ${token}` };
  const answer = await fetch(API + path, { ...options, headers, signal: session.signal });
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  const seconds = Number(answer.headers.get("Retry-After"));
  throw new Problem(answer.status, said.detail ?? answer.statusText, seconds);
}

async function read(path) {
  return (await ask(path)).json();
}

function sentence(problem) {
  if (!problem.status) return "The facade does not answer. Is it running, and are you online?";
  const again = `Try again in ${problem.seconds || POLL_SECONDS} seconds.`;
  const advice = { 401: "Paste another token.", 403: "Use a token that may.", 429: again, 503: again };
  const said = problem.message[0].toUpperCase() + problem.message.slice(1);
  return `${said}. ${advice[problem.status] ?? ""}`.trim();
}

function fail(problem, from) {
  if (problem.name === "AbortError") return;
  if (problem.status === 401) signOut(sentence(problem));
  else show("problem", sentence(problem));
  byId("problem").dataset.from = from;
}

// Signing in

function claims(given) {
  try {
    const part = given.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(part), (character) => character.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)) ?? {};
  } catch {
    return {};
  }
}

function signIn(given) {
  token = given.trim().replace(/^Bearer\s+/i, "");
  if (!/^[\w.~+/=-]+$/.test(token)) {
    signOut("This is not a token. Paste the whole line that the command prints.");
    return;
  }
  sessionStorage.setItem("token", token);
  const claimed = claims(token);
  user = claimed.sub;
  scopes = [claimed.scope ?? []].flat().flatMap((scope) => String(scope).split(" "));
  clear();
  byId("sign-in").hidden = true;
  byId("content").hidden = byId("sign-out").hidden = false;
  byId("start").hidden = !may("run") && !may("admin");
  for (const control of byId("start").children) control.hidden = !may("run");
  byId("cleanup").hidden = !may("admin");
  show("user", `Signed in as ${user}`);
  show("problem", "");
  poll();
}

function signOut(why) {
  token = null;
  sessionStorage.removeItem("token");
  clear();
  byId("sign-in").hidden = false;
  byId("content").hidden = byId("sign-out").hidden = true;
  show("user", "");
  show("news", "");
  show("problem", why);
  byId("token").value = "";
  byId("token").focus();
}

function clear() {
  clearTimeout(timer);
  session.abort();
  session = new AbortController();
  followed.clear();
  rows.clear();
  for (const id of ["task-rows", "report-rows", "weight-rows"]) byId(id).replaceChildren();
  const shown = ["published", "no-index", "no-tasks", "no-reports", "no-weights"];
  for (const id of shown) byId(id).hidden = true;
  stale.add("index").add("reports");
}

function may(what) {
  return scopes.includes(`tasks:${what}`);
}

function owns(task) {
  return task.user === user || may("admin");
}

function fromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return false;
  history.replaceState(null, "", location.pathname);
  signIn(given);
  return true;
}

async function poll() {
  clearTimeout(timer);
  const { signal } = session;
  let seconds = POLL_SECONDS;
  try {
    if (!document.hidden) await readAll();
    if (byId("problem").dataset.from === "poll") show("problem", "");
  } catch (problem) {
    fail(problem, "poll");
    seconds = Math.max(seconds, problem.seconds || 0);
  }
  if (signal.aborted) return;
  clearTimeout(timer);
  timer = setTimeout(poll, 1000 * seconds);
}

async function readAll() {
  showTasks((await read("background/tasks?per_page=10")).tasks);
  for (const [name, readPart] of [["reports", readReports], ["index", readIndex]]) {
    if (!stale.delete(name)) continue;
    await readPart().catch((problem) => {
      stale.add(name);
      throw problem;
    });
  }
}

async function act(button, request) {
  await busy(button, async () => {
    const answer = await (await request()).json();
    show("news", `${answer.message}.`);
    await poll();
  });
}

// Runs what a button does, once at a time. A button that is disabled would lose the focus.
async function busy(button, work) {
  if (button.ariaDisabled === "true") return;
  button.ariaDisabled = "true";
  try {
    show("problem", "");
    await work();
  } catch (problem) {
    fail(problem, "action");
  } finally {
    button.ariaDisabled = "false";
  }
}

function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return ask(`background/${path}`, { method: "POST", headers, body });
}

// Tasks

class TaskRow {
  constructor(task) {
    this.head = element("th", { scope: "row" });
    this.state = element("span");
    this.bar = element("progress", { hidden: true });
    this.said = element("small");
    const path = `task/${task.task_id}`;
    this.cancel = this.button("Cancel", () => ask(`background/${path}`, { method: "DELETE" }));
    this.retry = this.button("Retry", () => post(`${path}/retry`));
    const state = element("td", {}, this.state, this.bar, this.said);
    this.node = element("tr", {}, this.head, state, element("td", {}, this.cancel, this.retry));
    this.task = {};
    this.update(task);
  }

  button(text, request) {
    const made = element("button", { type: "button", textContent: text });
    made.onclick = () => act(made, request);
    return made;
  }

  update(news) {
    const before = this.task;
    const task = (this.task = { ...before, ...news });
    const name = NAMES[task.kind];
    const at = times.format(new Date(task.started_at ?? task.due_at));
    const by = task.user === null ? "scheduled" : `by ${task.user}`;
    const facts = [...parameters(task), by, at].join(" · ");
    this.head.replaceChildren(name, element("small", {}, facts));
    this.state.className = task.status;
    this.state.textContent = stateOf(task);
    this.progress(name);
    const described = `${name}, ${at}`;
    const stoppable = !task.completed_at && task.status !== "revoked";
    this.allow(this.cancel, described, stoppable && (may("run") || may("admin")));
    const needed = task.kind === "cleanup" ? "admin" : "run";
    this.allow(this.retry, described, task.completed_at && !task.retried_as && may(needed));
    if (!before.status || before.status === task.status) return;
    show("news", `${name}: ${stateOf(task)}.`);
    if (task.status === "success") stale.add(task.kind === "report" ? "reports" : "index");
  }

  allow(button, described, allowed) {
    if (!allowed && document.activeElement === button) byId("tasks-heading").focus();
    button.hidden = !allowed || !owns(this.task);
    button.setAttribute("aria-label", `${button.textContent}: ${described}`);
  }

  progress(name) {
    const { status, progress, error, completed_at } = this.task;
    this.bar.hidden = status !== "started" || Boolean(completed_at);
    this.bar.setAttribute("aria-label", `Progress of ${name}`);
    const { completed, total, what } = progress ?? {};
    if (total) Object.assign(this.bar, { max: total, value: completed ?? 0 });
    else this.bar.removeAttribute("value");
    const count = total ? `${completed ?? 0} of ${total} ${what ?? ""}` : "";
    const running = [progress?.step, count].filter(Boolean).join(": ");
    this.said.textContent = error ?? (completed_at ? "" : running);
  }
}

function stateOf(task) {
  if (task.status === "revoked") return task.completed_at ? "cancelled" : "is being cancelled";
  return task.retried_as ? `${task.status}, retried` : task.status;
}

function parameters(task) {
  const given = Object.entries(task.parameters);
  const told = given.filter(([, value]) => value !== null && value !== false);
  return told.map(([name, value]) => {
    const text = `${name.replaceAll("_", " ")}: ${[value].flat().join(", ")}`;
    return text.length > MOST_TEXT ? `${text.slice(0, MOST_TEXT)}…` : text;
  });
}

function showTasks(tasks) {
  const focused = document.activeElement;
  for (const task of tasks) {
    const row = rows.get(task.task_id);
    if (!row) rows.set(task.task_id, new TaskRow(task));
    else if (!followed.has(task.task_id)) row.update(task);
  }
  const shown = tasks.map((task) => rows.get(task.task_id).node);
  const before = [...byId("task-rows").children];
  if (before.length !== shown.length || before.some((node, at) => node !== shown[at])) {
    byId("task-rows").replaceChildren(...shown);
    focused.focus({ preventScroll: true });
  }
  byId("no-tasks").hidden = tasks.length > 0;
  for (const task of tasks.filter((one) => !one.completed_at)) {
    if (followed.size < MOST_FOLLOWED && !followed.has(task.task_id)) follow(task.task_id);
  }
}

async function follow(id) {
  const { signal } = session;
  followed.add(id);
  try {
    const answer = await ask(`background/status/${id}/events`);
    for await (const { event, data } of events(answer.body)) {
      if (event === "status") rows.get(id)?.update(data);
    }
  } catch {
    // The next poll says why, and follows the task again.
  }
  if (signal.aborted) return;
  followed.delete(id);
  if (rows.get(id)?.task.completed_at) poll();
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = "", part = await reader.read(); !part.done; part = await reader.read()) {
    const complete = (text + part.value).split("\n\n");
    text = complete.pop();
    for (const event of complete) {
      const field = (name) => event.match(new RegExp(`^${name}: (.*)$`, "m"))?.[1];
      if (field("data")) yield { event: field("event"), data: JSON.parse(field("data")) };
    }
  }
}

// Reports

async function readReports() {
  const { tasks } = await read("background/tasks?kind=report&status=success&per_page=5");
  byId("report-rows").replaceChildren(...tasks.map(reportRow));
  byId("no-reports").hidden = tasks.length > 0;
}

function reportRow(task) {
  const { report_type: type, format } = task.parameters;
  const at = times.format(new Date(task.completed_at));
  const button = element("button", { type: "button", textContent: "Download" });
  button.setAttribute("aria-label", `Download: ${type} report as ${format}, ${at}`);
  button.onclick = () => busy(button, () => download(task.task_id));
  const allowed = task.user === null || owns(task);
  const head = element("th", { scope: "row" }, `${type}, ${format}`);
  const file = element("td", {}, allowed ? button : `of ${task.user}`);
  return element("tr", {}, head, element("td", {}, at), file);
}

async function download(id) {
  const answer = await ask(`reports/${id}/file`);
  const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition"))?.[1];
  const url = URL.createObjectURL(await answer.blob());
  element("a", { href: url, download: name ?? "report" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

// The index

async function readIndex() {
  const levels = (await read("index/levels?order=desc&per_page=10000")).levels.reverse();
  const { metrics } = await read("index/metrics?order=desc&per_page=1");
  await readWeights();
  byId("no-index").hidden = levels.length > 0;
  byId("published").hidden = !levels.length;
  if (!levels.length) return;
  showFigures(levels, metrics[0]?.values.all ?? {});
  showYears(levels);
  showChart(levels);
}

function showFigures(levels, values) {
  const last = levels.at(-1);
  const session = last.status === "provisional" ? `${last.session}, provisional` : last.session;
  const facts = [[`Level (${session})`, decimal(last.level)]];
  const before = levels.at(-2);
  if (before) facts.push(["Last session", signedPercent(last.level / before.level - 1)]);
  for (const [label, name, format] of FIGURES) {
    if (typeof values[name] === "number") facts.push([label, format(values[name])]);
  }
  const pairs = facts.map(([label, text]) =>
    element("div", {}, element("dt", {}, label), element("dd", {}, text)),
  );
  byId("figures").replaceChildren(...pairs);
}

function showYears(levels) {
  const last = new Map(levels.map((row) => [row.session.slice(0, 4), row]));
  const lines = [...last.values()].reverse().map((row) => {
    const level = element("td", { className: "number" }, decimal(row.level));
    const known = element("td", {}, row.back_tested ? "back-tested" : "published live");
    return element("tr", {}, element("th", { scope: "row" }, row.session), level, known);
  });
  byId("years").replaceChildren(...lines);
}

async function readWeights() {
  const newest = (await read("index/allocations?order=desc&per_page=1")).allocations[0];
  byId("no-weights").hidden = Boolean(newest);
  if (!newest) return;
  const { allocations } = await read(`index/allocations?start_date=${newest.session}&per_page=10000`);
  const sectors = new Map();
  for (const { sector, symbol, weight } of allocations) {
    const name = sector ?? "Not classified";
    const found = sectors.get(name) ?? { weight: 0, symbols: [] };
    sectors.set(name, { weight: found.weight + weight, symbols: [...found.symbols, symbol] });
  }
  show("weights-caption", `By sector, as decided at the close of ${newest.session}`);
  const largest = [...sectors].sort(([, one], [, other]) => other.weight - one.weight);
  byId("weight-rows").replaceChildren(...largest.map(([name, found]) => sectorRow(name, found)));
}

function sectorRow(name, { weight, symbols }) {
  const bar = drawn("svg", { class: "bar", "aria-hidden": "true" });
  bar.append(drawn("rect", { width: `${100 * weight}%`, height: "100%" }));
  const head = element("th", { scope: "row" }, name, bar);
  const share = element("td", { className: "number" }, percent(weight));
  return element("tr", {}, head, share, element("td", {}, symbols.join(", ")));
}

// What starts it

byId("token-form").onsubmit = (event) => {
  event.preventDefault();
  signIn(byId("token").value);
};
byId("sign-out").onclick = () => signOut("");
for (const button of document.querySelectorAll("[data-path]")) {
  button.onclick = () => act(button, () => post(button.dataset.path, button.dataset.body));
}
byId("report-form").onsubmit = (event) => {
  event.preventDefault();
  const body = JSON.stringify(Object.fromEntries(new FormData(event.target)));
  act(event.submitter, () => post("generate-report", body));
};
document.addEventListener("visibilitychange", () => token && !document.hidden && poll());
window.addEventListener("hashchange", fromAddress);
byId("prefect").hidden = !byId("prefect").getAttribute("href");
if (!fromAddress()) {
  const kept = sessionStorage.getItem("token");
  if (kept) signIn(kept);
  else byId("sign-in").hidden = false;
}
