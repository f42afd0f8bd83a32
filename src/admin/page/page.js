"use strict";
// The dashboard of the admin listener. It asks the admin API every two seconds and shows what it says. All text comes into
// the page as text, never as markup.

const EVERY_MS = 2000;
const AUTHOR = "dashboard";
const $ = (id) => document.getElementById(id);

// Elements

const h = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
};

const svg = (tag, attributes, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

// What has the focus keeps it, and an open list of details stays open, when a part is shown anew.
const show = (id, ...children) => {
  const part = $(id);
  const focused = part.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const open = new Set([...part.querySelectorAll("details[open]")].map((details) => details.dataset.key));
  part.replaceChildren(...children.flat().filter(Boolean));
  for (const details of part.querySelectorAll("details")) details.open = open.has(details.dataset.key);
  if (focused) part.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
};

const table = (label, columns, rows) => h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
  h("table", {},
    h("thead", {}, h("tr", {}, columns.map(([name, kind]) => h("th", { class: kind === "n" ? "n" : false, scope: "col" }, name)))),
    h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, index) => h("td", { class: columns[index][1] || false }, cell)))))));

const tag = (text, kind) => h("span", { class: `tag ${kind}` }, text);

// Numbers

const number = (value, digits = 0) => value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: digits });
const time = (ms) => {
  if (ms === null || ms === undefined) return "–";
  if (ms < 10) return `${ms.toFixed(2)} ms`;
  if (ms < 100) return `${ms.toFixed(1)} ms`;
  return ms < 10000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
};
const share = (part, whole) => (whole ? `${((part * 100) / whole).toFixed(1)} %` : "–");
const bytes = (value) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
};
const span = (ms) => {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
};
const ago = (unixMs) => `${span(Date.now() - unixMs)} ago`;

// The API

let asksForToken = false;

const api = async (path, order) => {
  const headers = {};
  const token = sessionStorage.getItem("forebay-token");
  if (token) headers.Authorization = `Bearer ${token}`;
  if (order !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(path, order === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(order) });
  if (response.status === 401) {
    await askForToken();
    throw new Error("the token is needed");
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
};

const askForToken = () => {
  if (asksForToken) return Promise.resolve();
  asksForToken = true;
  const dialog = $("token");
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => {
    const input = dialog.querySelector("[type=password]");
    if (input.value) sessionStorage.setItem("forebay-token", input.value);
    input.value = "";
    asksForToken = false;
    done();
  }, { once: true }));
};

let toastTimer;
const toast = (text) => {
  $("toast").textContent = text;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").textContent = ""; }, 6000);
};

// Asks before it acts; says what has become of it.
const act = (question, path, order, done) => async () => {
  $("ask-text").textContent = question;
  const dialog = $("ask");
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
  if (dialog.returnValue !== "yes") return;
  try {
    const answer = await api(path, order);
    toast(typeof done === "function" ? done(answer) : done);
    await refresh();
  } catch (error) {
    toast(`Not done: ${error.message}`);
  }
};

const button = (key, label, ...action) => h("button", { "data-key": key, type: "button", onclick: act(...action) }, label);

// Overview

const tile = (name, value, bad) => h("div", {}, h("dt", {}, name), h("dd", { class: bad ? "bad" : false }, value));

const showOverview = (overview, slots) => {
  const { minute } = overview;
  $("version").textContent = overview.version;
  const failed = overview.reload && !overview.reload.succeeded;
  const state = `${overview.status}, up for ${span(Date.now() - overview.started_unix_ms)}, ${overview.workers} workers`;
  $("state").replaceChildren(tag(state, overview.status === "ready" ? "" : "warn"));
  const hits = slots.slice(-6).reduce((sum, slot) => sum + slot.cache_hits, 0);
  const cached = slots.slice(-6).reduce((sum, slot) => sum + slot.cache_requests, 0);
  show("tiles",
    tile("requests/s", number(minute.rate, 1)),
    tile("failed", share(minute.errors, minute.requests), minute.errors > 0),
    tile("p50", time(minute.p50_ms)), tile("p95", time(minute.p95_ms)), tile("p99", time(minute.p99_ms)),
    tile("cache hits", share(hits, cached)),
    tile("in flight", number(overview.requests_in_flight)),
    tile("queued", number(overview.requests_queued), overview.requests_queued > 0),
    tile("connections", number(overview.connections)),
    tile("endpoints up", `${overview.endpoints_up} of ${overview.endpoints}`, overview.endpoints_up < overview.endpoints));
  show("reload", overview.reload && h("details", { "data-key": "reload" },
    h("summary", {}, "Last reload ", tag(failed ? "failed, nothing has changed" : "succeeded", failed ? "bad" : ""), ` ${ago(overview.reload.at_unix_ms)}`),
    h("pre", {}, overview.reload.message)));
  if (failed) $("reload").firstChild.open = true;
  show("cache-state", h("p", { class: "row" }, `${number(overview.cache.keys)} keys, ${bytes(overview.cache.bytes)} of ${bytes(overview.cache.bytes_max)}`));
  show("journal-state", h("p", { class: "row" }, overview.journal === null
    ? "There is no journal: the configuration has no server.state_dir."
    : `${number(overview.journal.pending)} pending${overview.journal.pending ? `, the oldest for ${span(overview.journal.oldest_ms)}` : ""}, ${number(overview.journal.dead)} dead letters`));
};

// A chart of lines over the slots. A slot without a value interrupts its line.
const chart = (title, unit, slots, lines, most) => {
  const values = lines.flatMap(([, , read]) => slots.map(read)).filter((value) => value !== null);
  const top = most ?? (Math.max(...values, 0) * 1.1 || 1);
  const [width, height, first] = [600, 100, slots.length ? slots[0].at_unix_ms : 0];
  const range = Math.max(15 * 60 * 1000, slots.length ? slots[slots.length - 1].at_unix_ms - first : 0);
  const last = slots.length ? slots[slots.length - 1].at_unix_ms : 0;
  const x = (slot) => width - ((last - slot.at_unix_ms) / range) * width;
  const path = (read) => slots.reduce(([text, pen], slot) => {
    const value = read(slot);
    if (value === null) return [text, "M"];
    return [`${text}${pen}${x(slot).toFixed(1)} ${(height - (value / top) * height).toFixed(1)}`, "L"];
  }, ["", "M"])[0];
  const latest = (read) => { const value = slots.length ? read(slots[slots.length - 1]) : null; return value === null ? "–" : unit(value); };
  return h("figure", {},
    h("figcaption", {}, h("b", {}, title), lines.map(([name, kind, read]) => h("span", {}, h("i", { class: kind }), `${name} ${latest(read)}`)), h("span", {}, `top ${unit(top)}`)),
    svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}: ${lines.map(([name, , read]) => `${name} ${latest(read)}`).join(", ")}` },
      ...[0, 50, 100].map((y) => svg("line", { class: "grid", x1: 0, x2: width, y1: y, y2: y })),
      ...lines.map(([, kind, read]) => svg("path", { class: kind, d: path(read) }))));
};

const showCharts = (slots) => show("charts",
  chart("Requests a second", (value) => number(value, 1), slots, [
    ["requests", "c1", (slot) => (slot.seconds ? slot.requests / slot.seconds : null)],
    ["failed", "c2", (slot) => (slot.seconds ? slot.errors / slot.seconds : null)]]),
  chart("Time", time, slots, [
    ["p50", "c1", (slot) => slot.p50_ms], ["p95", "c3", (slot) => slot.p95_ms], ["p99", "c2", (slot) => slot.p99_ms]]),
  chart("Cache hits", (value) => `${value.toFixed(0)} %`, slots, [
    ["hits", "c1", (slot) => (slot.cache_requests ? (slot.cache_hits * 100) / slot.cache_requests : null)]], 100));

// Upstreams

const why = (endpoint) => {
  if (endpoint.up) return "";
  const cause = endpoint.history.find((change) => !["up", "reachable", "returned", "readied"].includes(change.event));
  return cause ? `${cause.event} ${ago(cause.at_unix_ms)}: ${cause.reason}` : "";
};

const endpointRow = (upstream, endpoint, first) => {
  const { minute } = endpoint;
  const order = { backend: endpoint.backend, by: AUTHOR };
  if (endpoint.address) order.address = endpoint.address;
  const name = endpoint.address ? `${endpoint.backend} at ${endpoint.address}` : endpoint.backend;
  const drained = endpoint.reasons.includes("drained");
  const path = `api/v1/upstreams/${encodeURIComponent(upstream.name)}/${drained ? "ready" : "drain"}`;
  const question = drained ? `Send ${name} requests again?` : `Send ${name} no new requests? Requests in flight finish.`;
  return [
    first ? h("span", {}, h("b", {}, upstream.name), " ", h("small", {}, upstream.balance)) : "",
    name + (endpoint.backup ? " (backup)" : ""),
    endpoint.up ? tag("up", "") : h("span", {}, endpoint.reasons.map((reason) => tag(reason, reason === "drained" ? "warn" : "bad"))),
    `${number(endpoint.requests_in_flight)}${endpoint.max_in_flight === null ? "" : ` of ${number(endpoint.max_in_flight)}`}`,
    number(minute.rate, 1), share(minute.errors, minute.requests), time(minute.p50_ms), time(minute.p95_ms), time(minute.p99_ms),
    number(endpoint.weight),
    button(`${upstream.name} ${name}`, drained ? "Ready …" : "Drain …", question, path, order, drained ? "It gets requests again." : "It gets no new requests."),
    why(endpoint)];
};

const changes = (upstreams) => {
  const all = upstreams.flatMap((upstream) => upstream.endpoints.flatMap((endpoint) =>
    endpoint.history.map((change) => ({ ...change, upstream: upstream.name, name: endpoint.address || endpoint.backend }))));
  all.sort((one, other) => other.at_unix_ms - one.at_unix_ms);
  return all.length ? h("details", { "data-key": "history" }, h("summary", { "data-key": "history summary" }, "The last changes of health"),
    table("The last changes of health", [["when"], ["upstream"], ["endpoint"], ["what"], ["why", "why"]],
      all.slice(0, 30).map((change) => [ago(change.at_unix_ms), change.upstream, change.name, change.event, change.reason]))) : null;
};

const showUpstreams = (upstreams) => show("upstream-list",
  table("Endpoints", [["upstream"], ["endpoint"], ["state"], ["in flight", "n"], ["requests/s", "n"], ["failed", "n"], ["p50", "n"], ["p95", "n"], ["p99", "n"], ["weight", "n"], [""], ["why it gets none", "why"]],
    upstreams.flatMap((upstream) => upstream.endpoints.map((endpoint, index) => endpointRow(upstream, endpoint, index === 0)))),
  changes(upstreams));

// Routes

const showRoutes = (routes) => show("route-list", table("Routes",
  [["route"], ["upstream"], ["requests/s", "n"], ["failed", "n"], ["p50", "n"], ["p95", "n"], ["p99", "n"], ["cache hits", "n"], ["sent", "n"]],
  routes.map((route) => {
    const results = route.cache ? Object.values(route.cache).reduce((sum, count) => sum + count, 0) : 0;
    const hits = route.cache ? (route.cache.hit || 0) + (route.cache.stale || 0) : 0;
    const { minute } = route;
    return [route.name, route.upstreams.join(", ") || "–", number(minute.rate, 1), share(minute.errors, minute.requests),
      time(minute.p50_ms), time(minute.p95_ms), time(minute.p99_ms), route.cache ? share(hits, results) : "–", bytes(route.bytes_sent)];
  })));

// Splits and canaries

const weights = (split) => {
  const path = `api/v1/split/${encodeURIComponent(split.route)}`;
  return table(`Split of ${split.route}`, [["upstream"], ["weight"], ["in the file", "n"], ["requests", "n"], ["failed", "n"], ["p95", "n"]],
    split.sides.map((side) => {
      const label = h("span", {}, ` ${side.weight} %`);
      const slider = h("input", { type: "range", min: 0, max: 100, step: 1, value: side.weight, "data-key": `weight ${split.route} ${side.upstream}`,
        "aria-label": `Weight of ${side.upstream} in percent`,
        oninput: () => { held = Date.now(); label.textContent = ` ${slider.value} %`; },
        onchange: () => act(`Send ${slider.value} % of ${split.route} to ${side.upstream}? The others share the rest. A canary that runs pauses.`,
          path, { weights: { [side.upstream]: Number(slider.value) }, by: AUTHOR }, "The weights are set.")().finally(() => { held = 0; refresh(); }) });
      return [h("span", {}, side.upstream, " ", side.usable ? null : tag("unusable", "bad")), h("span", {}, slider, label), `${side.file_weight} %`,
        number(side.requests), share(side.errors, side.requests), time(side.p95_ms)];
    }));
};

// Where a canary has lost its share, no step is reached.
const stepClass = (canary, step) => {
  if (canary.phase === "done") return "done";
  if (canary.phase !== "stepping" && canary.phase !== "paused") return false;
  return step < canary.step ? "done" : step === canary.step && "now";
};

const canaryView = (canary) => {
  const path = (what) => `api/v1/canary/${encodeURIComponent(canary.route)}/${what}`;
  const order = (label, what, question) => button(`${what} ${canary.route}`, label, question, path(what), { by: AUTHOR }, "Done.");
  const kind = { stepping: "", done: "", paused: "warn" }[canary.phase] ?? "bad";
  const judged = (name, traffic) => `${name}: ${number(traffic.requests)} requests, ${share(traffic.errors, traffic.requests)} failed, p95 ${time(traffic.p95_ms)}`;
  return [
    h("p", { class: "row" }, `Canary ${canary.upstream} `, tag(canary.phase, kind), h("span", {}, canary.reason)),
    h("p", { class: "steps", "aria-label": "Steps" }, canary.steps.map((step, index) =>
      h("span", { class: stepClass(canary, index + 1) }, `${step} %`))),
    h("p", { class: "row dim" }, judged("canary", canary.canary), h("span", {}, judged("others", canary.stable)),
      canary.compared ? h("span", {}, `${share(canary.mismatched, canary.compared)} of ${number(canary.compared)} compared responses differ`) : null),
    h("p", { class: "row" },
      order("Pause …", "pause", `Keep the canary of ${canary.route} at its step?`), order("Resume …", "resume", `Let the canary of ${canary.route} go on?`),
      order("Next step …", "promote", `Move the canary of ${canary.route} to its next step now, without a verdict?`),
      order("Abort …", "abort", `Take the share of the canary of ${canary.route} away?`), order("Restart …", "restart", `Start the canary of ${canary.route} from its first step?`))];
};

const mirrorView = (mirror) => {
  const compared = mirror.comparison;
  return [h("p", { class: "row" }, `Mirror to ${mirror.upstream}: ${number(mirror.sent)} copies, ${number(mirror.failed)} failed`,
    compared ? h("span", {}, `${number(compared.mismatched)} of ${number(compared.compared)} compared responses differ`) : null),
  compared && compared.differences.length ? table(`Differences of ${mirror.route}`, [["where"], ["what"], ["count", "n"]],
    compared.differences.slice(0, 10).map((difference) => [difference.path, difference.kind, number(difference.count)])) : null];
};

const showRollout = (splits, canaries, mirrors) => show("split-list",
  splits.length + mirrors.length === 0 ? h("p", { class: "dim" }, "No route splits or mirrors its requests.") : null,
  splits.map((split) => [
    h("h3", {}, `${split.route} `, h("small", {}, `sticky: ${split.sticky}${split.overridden ? `; weights set by ${split.overridden.by} ${ago(split.overridden.at_ms)}` : ""}`),
      " ", split.overridden ? button(`reset ${split.route}`, "Weights of the file …", `Give ${split.route} the weights of the file again?`, `api/v1/split/${encodeURIComponent(split.route)}/reset`, { by: AUTHOR }, "The file's weights are in force.") : null),
    weights(split),
    canaries.filter((canary) => canary.route === split.route).map(canaryView),
    mirrors.filter((mirror) => mirror.route === split.route).map(mirrorView)]).flat(3),
  mirrors.filter((mirror) => !splits.some((split) => split.route === mirror.route)).map((mirror) => [h("h3", {}, mirror.route), mirrorView(mirror)]).flat(3));

// Writes

const showLetters = (page) => show("dead-letters", page.entries.length === 0 ? null : table("Dead letters",
  [["number", "n"], ["request"], ["route"], ["accepted"], ["tries", "n"], [""], ["why", "why"]],
  page.entries.map((entry) => [String(entry.seq), `${entry.method} ${entry.target}`, entry.route, ago(entry.accepted_unix_ms), number(entry.attempts),
    h("span", { class: "row" },
      button(`retry ${entry.seq}`, "Retry …", `Send ${entry.method} ${entry.target} again?`, `api/v1/journal/${entry.seq}/retry`, {}, "It is pending again."),
      button(`discard ${entry.seq}`, "Discard …", `Discard ${entry.method} ${entry.target} for good?`, `api/v1/journal/${entry.seq}/discard`, {}, "It is discarded.")),
    [entry.status, entry.reason].filter(Boolean).join(": ")])));

$("purge").addEventListener("submit", (event) => {
  event.preventDefault();
  const { kind, what, soft } = event.target.elements;
  const order = { soft: soft.checked, wait: true };
  if (kind.value === "all") order.all = true;
  else if (kind.value === "tags") order.tags = what.value.split(",").map((tag) => tag.trim()).filter(Boolean);
  else order[kind.value] = what.value.trim();
  act(`Purge ${kind.value === "all" ? "everything" : `${kind.value} ${what.value}`}?`, "api/v1/purge", order,
    (answer) => (answer.purged === undefined ? "The purge holds." : `${number(answer.purged)} responses purged.`))();
});

// The loop

// While a slider moves, its part is not shown anew.
let held = 0;

const refresh = async () => {
  try {
    const [overview, history, { upstreams }, { routes }, { splits }, { canaries }, { mirrors }] = await Promise.all(
      ["status", "history", "upstreams", "routes", "split", "canary", "mirror"].map((path) => api(`api/v1/${path}`)));
    showOverview(overview, history.slots);
    showCharts(history.slots);
    showUpstreams(upstreams);
    showRoutes(routes);
    if (Date.now() - held > 30000) showRollout(splits, canaries, mirrors);
    if (overview.journal !== null) showLetters(await api("api/v1/journal?state=dead&limit=50"));
    $("problem").hidden = true;
  } catch (error) {
    $("problem").textContent = `The proxy does not answer: ${error.message}. What is shown is old.`;
    $("problem").hidden = false;
  }
};

const loop = async () => {
  if (!document.hidden && !asksForToken) await refresh();
  setTimeout(loop, EVERY_MS);
};
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
loop();
