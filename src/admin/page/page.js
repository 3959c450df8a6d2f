"use strict";

const $ = (id) => document.getElementById(id);
const numbers = new Intl.NumberFormat("en-GB");
const say = (text) => { $("said").textContent = text; };

/* Numbers as people read them, each a pair of text and unit. */
const known = (value) => value !== null && value !== undefined && value !== "";
function short(value) {
  if (!known(value)) return ["–", ""];
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (value >= size) return [digits(value / (unit === "k" ? 1e3 : size)), unit];
  }
  return [numbers.format(Math.round(value * 10) / 10), ""];
}
function bytes(value) {
  if (!known(value)) return ["–", ""];
  let [size, at] = [value, 0];
  while (size >= 1000 && at < 4) [size, at] = [size / 1024, at + 1];
  return [at === 0 ? numbers.format(Math.round(size)) : digits(size), ["B", "KiB", "MiB", "GiB", "TiB"][at]];
}
function micros(value) {
  if (!known(value)) return ["–", ""];
  if (value < 1000) return [numbers.format(Math.round(value)), "µs"];
  return value < 1e6 ? [digits(value / 1e3), "ms"] : [digits(value / 1e6), "s"];
}
function share(value) {
  return known(value) ? [numbers.format(Math.round(value * 100)), "%"] : ["–", ""];
}
function digits(value) {
  return String(Number(value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)));
}
const joined = (pair) => pair.join(" ").trim();
const inBytes = (value) => joined(bytes(value));
const count = (value) => (known(value) ? numbers.format(value) : "–");
const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many}`;
function age(seconds) {
  if (!known(seconds)) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = units.findIndex(([size]) => seconds >= size);
  const [size, unit] = units[first];
  const [next, nextUnit] = units[first + 1] ?? [0, ""];
  const rest = next ? Math.floor((seconds % size) / next) : 0;
  return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${nextUnit}` : ""}`;
}

/* What the gateway has told. */
const state = { samples: [], status: null, span: 60, chosen: false, heard: 0, token: null, wasPaused: null };

/* ---- Charts ---- */

const perSecond = (format) => (value) => { const [text, unit] = format(value); return [text, `${unit}/s`]; };
const charts = [
  new Chart($("charts"), "Frames a second", [
    { key: "frames_in", name: "in", colour: "--in", fill: true },
    { key: "frames_out", name: "out, all copies", colour: "--out" },
  ], perSecond(short), { least: 10 }),
  new Chart($("charts"), "Bytes a second", [
    { key: "bytes_in", name: "in", colour: "--in", fill: true },
    { key: "bytes_out", name: "out", colour: "--out" },
  ], perSecond(bytes), { least: 1024, binary: true }),
  new Chart($("charts"), "Latency within the gateway", [
    { key: "verified_us_p99", name: "verified, p99", colour: "--in" },
    { key: "verified_us_p50", name: "p50", colour: "--in", thin: true },
    { key: "written_us_p99", name: "written, p99", colour: "--out" },
    { key: "written_us_p50", name: "p50", colour: "--out", thin: true },
  ], micros, { least: 10 }),
  new Chart($("charts"), "Memory, and what waits for subscribers", [
    { key: "memory_bytes", name: "memory", colour: "--in", fill: true },
    { key: "pending_bytes", name: "waiting, all copies", colour: "--out" },
  ], bytes, { least: 65536, binary: true, bound: () => state.status?.memory.limit_bytes ?? null }),
];

function drawCharts() {
  if (!state.chosen) {
    // As long as little is known, it fills the charts.
    const seconds = (state.samples.at(-1)?.time_ms - state.samples[0]?.time_ms) / 1000 || 0;
    setSpan([60, 300, 900].find((span) => seconds <= span + 5) ?? 900);
  }
  const end = state.samples.at(-1)?.time_ms ?? Date.now();
  charts.forEach((chart) => chart.show(state.samples, state.span, end));
}

function setSpan(span) {
  if (span === state.span) return;
  state.span = span;
  document.querySelector(`input[name=span][value="${span}"]`).checked = true;
  $("span-name").textContent = span === 60 ? "minute" : `${span / 60} minutes`;
}

for (const radio of document.querySelectorAll("input[name=span]")) {
  radio.addEventListener("change", () => {
    state.chosen = true;
    setSpan(Number(radio.value));
    drawCharts();
  });
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);

/* ---- Status ---- */

function showStatus(status) {
  state.status = status;
  const { phase } = status;
  $("phase").dataset.phase = phase;
  $("phase").textContent = phase === "running" ? "running" : `${phase}${status.quiet ? ", quiet" : ""}`;
  $("where").textContent = `${status.listen}, up ${age(status.uptime_seconds)}, ${plural(status.queues.connections.now, "connection", "connections")}`;
  $("version").textContent = `Framegate ${status.version}`;
  document.title = `${phase === "running" ? "" : `${phase} – `}Framegate ${status.listen}`;
  const mayChange = status.access !== "closed" && phase !== "draining";
  $("pause").disabled = $("open-limits").disabled = !mayChange;
  $("pause").textContent = phase === "paused" ? "Resume" : "Pause";
  $("pause").title = $("open-limits").title = mayChange ? "" : "Start the gateway with --admin-token-file to change anything from here";
  if (state.wasPaused !== null && state.wasPaused !== (phase === "paused")) say(phase === "paused" ? "The gateway is paused" : "The gateway has resumed");
  state.wasPaused = phase === "paused";

  showAttention(status);
  showLedger(status.ledger, status.sinks !== undefined);
  showMeters(status);
  showTables(status);
  pairs($("settings"), Object.entries(status.settings).sort());
}

/* Sentences for a person who has just got up. */
function showAttention(status) {
  const items = [];
  const add = (kind, text, target) => items.push({ kind, text, target });
  const waiting = status.paused_by.operator.now;
  if (status.phase === "paused") {
    add("warn", `Paused by an operator${status.quiet ? ", and everything accepted is finished" : ""}. ${plural(waiting, "connection has", "connections have")} sent something that is not read.`);
  }
  if (status.phase === "draining") add("warn", "Draining: nothing more is taken in, and the gateway ends when what it accepted is finished.");
  const frozen = (status.slow ?? []).filter((peer) => peer.taken_nothing_seconds >= 1);
  if (frozen.length > 0) {
    const [first] = frozen;
    const others = frozen.length > 1 ? `, and ${plural(frozen.length - 1, "other", "others")} likewise` : "";
    add("bad", `Subscriber ${named(first)} has taken nothing for ${age(first.taken_nothing_seconds)}; ${inBytes(first.pending_bytes)} wait for it${others}.`, "h-slow");
  }
  const held = (status.paused ?? []).filter((peer) => peer.cause !== "operator" && peer.paused_seconds >= 0.5);
  if (held.length > 0) {
    const [first] = held;
    add("bad", `${held.length === 1 ? `Publisher ${named(first)} has` : `${held.length} publishers have`} been paused for ${age(first.paused_seconds)}: ${because(first)}.`, "h-paused");
  }
  const troubled = (status.calls?.handlers ?? []).filter((handler) => handler.trouble);
  if (troubled.length > 0) {
    const others = troubled.length > 1 ? `, and ${plural(troubled.length - 1, "other", "others")} likewise` : "";
    add("bad", `Handler ${troubled[0].number} does not start: ${troubled[0].trouble}${others}. Frames wait for it.`, "h-handlers");
  }
  const down = (status.calls?.handlers ?? []).filter((handler) => !handler.pid && !handler.trouble);
  if (down.length > 0) {
    add("bad", `${down.length === 1 ? `Handler ${down[0].number} does` : `${down.length} handlers do`} not run: ${plural(down[0].failed, "process", "processes")} of it failed. The log says how.`, "h-handlers");
  }
  if (status.calls && status.calls.queued.now > 0 && status.calls.queued.now >= status.calls.queued.max) {
    add("warn", `As many frames wait for a handler as may, the oldest for ${age(status.oldest_queued_seconds)}.`, "h-handlers");
  }
  for (const sink of status.sinks?.each ?? []) {
    if (sink.trouble) add("bad", `${sinkName(sink.name)} is in trouble: ${sink.trouble}. ${inBytes(sink.lag_bytes)} wait and are not confirmed, the oldest for ${age(status.sinks.oldest_seconds)}.`);
  }
  const refused = (status.rejected ?? []).filter((peer) => peer.last_seconds < 60);
  if (refused.length > 0) {
    const [first] = refused;
    add("warn", `${plural(first.rejected, "frame", "frames")} of ${named(first)} ${first.rejected === 1 ? "was" : "were"} refused, the last ${age(first.last_seconds)} ago: ${first.last}.`, "h-refused");
  }
  const digests = status.queues.dedup_window;
  if (digests && digests.reach_seconds < digests.window_seconds) {
    add("warn", `Copies are recognised for ${age(digests.reach_seconds)}, not for the ${age(digests.window_seconds)} of --dedup: there is no room for more digests. More --memory or a shorter --dedup mends it.`, "h-full");
  }
  const memory = status.memory.used_bytes / status.memory.limit_bytes;
  if (memory >= 0.9) add("bad", `Memory is ${joined(share(memory))} full: publishers wait in line for it.`, "h-full");
  const lost = state.samples.at(-1)?.lost ?? 0;
  if (lost > 0) add("bad", `${joined(short(lost))} copies of frames a second are lost to subscribers that are too slow or went away.`, "h-closed");
  if (items.length === 0) add("calm", "All is well: no subscriber is behind, no publisher is paused, nothing is refused.");

  attend(items);
}

function attend(items) {
  $("attention").replaceChildren(...items.map(({ kind, text, target }) => {
    const item = element("li", kind);
    const sign = element("span", "sign", { calm: "✓", warn: "!", bad: "▲" }[kind]);
    sign.setAttribute("aria-hidden", "true");
    item.append(sign, element("span", "", text));
    if (target) {
      const link = element("a", "", "Show");
      link.href = `#${target}`;
      link.setAttribute("aria-label", `Show: ${$(target).textContent}`);
      item.append(link);
    }
    return item;
  }));
}

function sinkName(name) {
  return { store: "The store", http: "The HTTP sink" }[name] ?? `The sink ${name}`;
}

function because(peer) {
  switch (peer.cause) {
    case "subscriber": return `subscriber ${peer.by ?? "(gone)"} is behind`;
    case "memory": return "it waits for memory";
    case "workers": return "the queue to the workers is full";
    case "in_flight": return "its own frames are being verified";
    case "replies": return "it does not read its replies";
    case "handlers": return "as many frames wait for a handler as may";
    case "parts": return "there is no room for its fragment of a message";
    case "sinks": return "a sink takes no more for now";
    case "operator": return "an operator paused the gateway";
    case "draining": return "the gateway drains";
    case "ending": return "it is about to end";
    default: return peer.cause;
  }
}

function showLedger(ledger, hasSinks) {
  const terms = [
    ["read", ledger.read, ""], ...(ledger.reassembled ? [["reassembled", ledger.reassembled, "+"]] : []), ["delivered", ledger.delivered, "="], ["control", ledger.control, "+"],
    ["rejected", ledger.rejected_total, "+"], ...(ledger.reassembled ? [["fragments", ledger.fragments, "+"]] : []), ["dropped", ledger.dropped, "+"],
    ["undelivered", ledger.undelivered, "+"], ["in flight", ledger.in_flight, "+"],
  ];
  $("ledger").replaceChildren(...terms.map(([name, value, sign]) => {
    const term = element("div", sign ? "signed" : "");
    const number = element("dd");
    number.dataset.ledger = name;
    number.dataset.raw = value;
    if (sign) number.append(element("span", "op", sign));
    number.append(count(value));
    term.append(element("dt", "", name), number);
    return term;
  }));
  const came = ledger.read + (ledger.reassembled ?? 0);
  const sum = terms.filter(([name]) => name !== "read" && name !== "reassembled").reduce((all, [, value]) => all + value, 0);
  $("balance").className = `note ${sum === came ? "good" : "bad"}`;
  $("balance").textContent = sum === came ? "✓ balanced" : `✕ off by ${count(came - sum)}`;
  const notes = Object.entries(ledger.rejected).map(([name, value]) => `${name} ${count(value)}`);
  // Only what nothing else takes is lost with that.
  if (ledger.unmatched > 0) notes.unshift(`${count(ledger.unmatched)} delivered matched no subscriber${hasSinks ? "" : ": nobody has them"}`);
  $("rejections").replaceChildren(...notes.map((note) => element("li", "", note)));
  $("rejections").hidden = notes.length === 0;
}

const meters = new Map();
function meter(name, parts, max, format, note = "", warns = true) {
  let made = meters.get(name);
  if (!made) {
    const root = element("div", "meter");
    const bar = element("div", "bar");
    const value = element("span", "value");
    const track = element("div", "track");
    track.setAttribute("role", "meter");
    track.setAttribute("aria-label", name);
    track.append(...parts.map(() => element("div", "fill")));
    bar.append(element("span", "", name), value);
    root.append(bar, track);
    $("meters").append(root);
    meters.set(name, (made = { root, value, track }));
  }
  const now = parts.reduce((a, b) => a + b, 0);
  const full = max > 0 ? now / max : 0;
  const high = warns && full >= 0.9;
  made.root.classList.toggle("high", high);
  made.value.replaceChildren(element("b", "", format(now)), ` of ${format(max)}${note}${high ? " ▲ nearly full" : ""}`);
  [...made.track.children].forEach((fill, i) => { fill.style.width = `${Math.min(100, max > 0 ? (parts[i] / max) * 100 : 0)}%`; });
  made.track.setAttribute("aria-valuemin", 0);
  made.track.setAttribute("aria-valuemax", max);
  made.track.setAttribute("aria-valuenow", Math.min(now, max));
  made.track.setAttribute("aria-valuetext", made.value.textContent);
}

function showMeters(status) {
  const { memory, queues, workers } = status;
  // Of all that is used, as the tile says it.
  const shares = [["large frames", memory.large_bytes], ["answers", memory.answers_bytes]].filter(([, part]) => part > 0);
  const rest = shares.reduce((left, [, part]) => left - part, memory.used_bytes);
  meter("Memory", [rest, memory.used_bytes - rest], memory.limit_bytes, inBytes,
    shares.map(([what, part]) => `, ${inBytes(part)} ${what}`).join(""));
  const busy = status.rates?.workers_busy ?? 0;
  meter("Workers", [busy * workers.threads], workers.threads, (n) => numbers.format(Math.round(n * 100) / 100), " busy");
  meter("Queue to the workers", [queues.jobs.now], queues.jobs.max, count, " jobs");
  meter("Furthest behind of the outboxes", [status.pending_bytes_max ?? 0], outboxMax(status), inBytes);
  meter("Connections", [queues.connections.now], queues.connections.max, count, status.subscribers === undefined ? "" : `, ${plural(status.subscribers, "subscriber", "subscribers")}`);
  const { patterns, bytes } = status.subscriptions;
  if (patterns.now > 0) meter("Memory for patterns", [bytes.now], bytes.max, inBytes, `, ${plural(patterns.now, "pattern", "patterns")}`);
  if (status.calls) {
    // As many as may be is how it works best.
    meter("With the handlers", [status.calls.in_flight.now], status.calls.in_flight.max, count, " frames", false);
    const aside = status.calls.set_aside;
    meter("Waiting for them", [status.calls.queued.now], status.calls.queued.max, count, ` frames${aside > 0 ? `, ${count(aside)} more set aside` : ""}`);
  }
  if (status.parts.keys.now > 0) {
    meter("Incomplete messages", [status.parts.keys.now], status.parts.keys.max, count, `, the oldest for ${age(status.parts.oldest_seconds)}`);
    meter("Their fragments", [status.parts.bytes.now], status.parts.bytes.max, inBytes);
  }
  for (const sink of status.sinks?.each ?? []) {
    if (sink.now) meter(`Requests of ${sink.name === "http" ? "the HTTP sink" : sink.name}`, [sink.now.in_flight], sink.now.max_in_flight, count, sink.now.waiting > 0 ? `, ${count(sink.now.waiting)} wait` : "");
  }
  if (queues.dedup.max > 0) meter("Remembered digests", [queues.dedup.now], queues.dedup.max, count, `, ${age(queues.dedup_window.reach_seconds)} back`, false);
}

function outboxMax(status) {
  const match = /^([\d.]+)(\w*)$/.exec(status.settings.outbox ?? "");
  const size = match ? Number(match[1]) * ({ KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }[match[2]] ?? 1) : 0;
  return size;
}

function pairs(list, entries) {
  list.replaceChildren(...entries.map(([name, value]) => {
    const pair = element("div");
    pair.append(element("dt", "", name), element("dd", "", value));
    return pair;
  }));
}

/* ---- Tables ---- */

/* columns: [name, value of a row, classes] */
function table(id, caption, columns, rows, nothing) {
  const box = $(id);
  if (!rows || rows.length === 0) {
    box.removeAttribute("tabindex");
    return box.replaceChildren(element("p", "empty", nothing));
  }
  const made = element("table");
  made.append(element("caption", "unseen", caption));
  const head = element("tr");
  columns.forEach(([name, , classes]) => { const cell = element("th", classes, name); cell.scope = "col"; head.append(cell); });
  const top = element("thead");
  top.append(head);
  const body = element("tbody");
  for (const row of rows) {
    const line = element("tr");
    for (const [name, value, classes] of columns) {
      const cell = element("td", classes);
      const shown = value(row);
      cell.append(name === "Address" ? element("span", "address", shown) : shown);
      line.append(cell);
    }
    body.append(line);
  }
  made.append(top, body);
  const [left, down] = [box.scrollLeft, box.scrollTop];
  box.replaceChildren(made);
  [box.scrollLeft, box.scrollTop] = [left, down];
  // What can be scrolled can be scrolled with the keyboard.
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", caption);
}

/* The address, and behind it the name of the identity where there is one. */
const named = (peer) => (peer.identity ? `${peer.address} (${peer.identity})` : peer.address);
const address = ["Address", named, ""];
const connected = ["Connected for", (peer) => age(peer.age_seconds), "n wide"];
const sent = ["Sent", (peer) => `${plural(peer.frames_read, "frame", "frames")}, ${inBytes(peer.bytes_read)}`, "n wide"];
const got = ["Got", (peer) => `${plural(peer.frames_written, "frame", "frames")}, ${inBytes(peer.bytes_written)}`, "n wide"];

function showHandlers(calls, oldest) {
  const programs = calls?.handlers ?? [];
  $("handlers-card").hidden = programs.length === 0;
  if (programs.length === 0) return;
  const waiting = calls.queued.now + calls.set_aside;
  const aside = calls.set_aside > 0 ? ` (${count(calls.set_aside)} of them set aside)` : "";
  $("handlers-note").textContent = waiting > 0 ? `${plural(waiting, "frame waits", "frames wait")} for them${aside}, the oldest for ${age(oldest)}.` : "Nothing waits for them.";
  table("handlers", "Programs that answer frames", [
    ["Number", (handler) => count(handler.number), "n"],
    ["Process", (handler) => (handler.pid ? String(handler.pid) : "not running"), "n"],
    ["Busy with", (handler) => plural(handler.busy, "frame", "frames"), "n"],
    ["At the oldest for", (handler) => (handler.busy > 0 ? age(handler.oldest_seconds) : "–"), "n wide"],
    ["Done", (handler) => count(handler.done), "n"],
    ["Failed", (handler) => count(handler.failed), "n"],
    ["Restarts", (handler) => count(handler.restarts), "n wide"],
  ], programs, "There are none.");
}

/* The first listener has no address in its name; where it is alone there is nothing to tell apart. */
function showListeners(status) {
  const listeners = status.ledger.listeners ?? [];
  $("listeners-card").hidden = listeners.length < 2;
  if (listeners.length < 2) return;
  const [layout, where] = [(of) => of.name.split("=", 1)[0], (of) => of.name.split("=").slice(1).join("=") || status.listen];
  table("listeners", "What came at each listener", [
    ["Layout", layout, ""],
    ["Address", where, ""],
    ["Open", (of) => count(of.accepted - of.closed), "n"],
    ["Accepted", (of) => count(of.accepted), "n wide"],
    ["Frames", (of) => count(of.read), "n"],
    ["Rejected", (of) => count(of.rejected), "n"],
    ["Skipped", (of) => inBytes(of.bytes_skipped), "n wide"],
  ], listeners, "There are none.");
}

function showTopics(sinks) {
  const topics = (sinks?.each ?? []).flatMap((sink) => sink.topics ?? []);
  $("topics-card").hidden = topics.length === 0;
  if (topics.length === 0) return;
  table("topics", "Topics with most bytes stored", [
    ["Topic", (of) => of.topic || "(empty)", ""],
    ["Frames", (of) => count(of.frames), "n"],
    ["Bytes", (of) => inBytes(of.bytes), "n"],
  ], topics, "There are none.");
}

function showDurable(durable) {
  const names = durable?.furthest ?? [];
  $("durable-card").hidden = names.length === 0;
  if (names.length === 0) return;
  table("durable", "Durable names that are furthest behind", [
    ["Name", (of) => of.name, ""],
    ["Connected", (of) => (of.connected ? "yes" : "no"), ""],
    ["Position", (of) => count(of.position), "n wide"],
    ["Frames behind", (of) => count(of.lag_frames), "n"],
    ["For", (of) => (of.lag_seconds > 0 ? age(of.lag_seconds) : "-"), "n"],
  ], names, "There are none.");
}

function showTables(status) {
  showHandlers(status.calls, status.oldest_queued_seconds);
  showListeners(status);
  showTopics(status.sinks);
  showDurable(status.durable);
  table("slow", "Subscribers for whom something waits", [
    address,
    ["Waiting", (peer) => inBytes(peer.pending_bytes), "n"],
    ["Oldest", (peer) => age(peer.oldest_unsent_seconds), "n wide"],
    ["Took nothing for", (peer) => age(peer.taken_nothing_seconds), "n"],
    ["Dropped", (peer) => count(peer.dropped), "n wide"],
    ["Holds up", (peer) => plural(peer.holding, "publisher", "publishers"), "n wide"],
    got, connected,
  ], status.slow, "Nobody is behind.");
  table("paused", "Connections that are not read", [
    address, ["For", (peer) => age(peer.paused_seconds), "n"], ["Because", because, "text"], sent, connected,
  ], status.paused, "Nobody is paused.");
  table("rejected", "Connections whose frames are refused", [
    address, ["Refused", (peer) => count(peer.rejected), "n"], ["The last", (peer) => peer.last, ""],
    ["Ago", (peer) => age(peer.last_seconds), "n wide"], sent, connected,
  ], status.rejected, "Of those who are connected, nobody's frames were refused.");
  table("closed", "Connections that ended", [
    ["Ago", (peer) => age(peer.ago_seconds), "n"], address, ["Reason", (peer) => peer.reason, "text"],
    ["Was connected for", (peer) => age(peer.age_seconds), "n wide"], sent, got,
  ], status.closed, "No connection has ended yet.");
}

/* ---- Steering ---- */

async function steer(verb, body) {
  for (;;) {
    const headers = { "content-type": "application/json" };
    if (state.token) headers.authorization = `Bearer ${state.token}`;
    const response = await fetch(`/ctl/${verb}`, { method: "POST", headers, body: JSON.stringify(body) });
    const answer = await response.json();
    if (response.ok) return answer;
    if (response.status !== 401) throw new Error(answer.error ?? `status ${response.status}`);
    state.token = await askToken(state.token ? answer.error : "");
    if (!state.token) throw new Error("nothing was changed: the token is needed");
  }
}

function askToken(wrong) {
  const [dialog, form, field] = [$("token"), $("token-form"), $("token-value")];
  $("token-said").textContent = wrong;
  field.value = "";
  dialog.showModal();
  return new Promise((answer) => {
    const end = (value) => { form.onsubmit = dialog.onclose = null; dialog.close(); answer(value); };
    form.onsubmit = (event) => { event.preventDefault(); end(field.value.trim()); };
    dialog.onclose = () => end(null);
    $("token-cancel").onclick = () => dialog.close();
  });
}

async function pauseOrResume() {
  const button = $("pause");
  if (button.disabled) return;
  button.disabled = true;
  try {
    const answer = await steer(state.status?.phase === "paused" ? "resume" : "pause", {});
    $("phase").dataset.phase = answer.phase;
    $("phase").textContent = answer.phase;
    button.textContent = answer.phase === "paused" ? "Resume" : "Pause";
    state.status.phase = answer.phase;
  } catch (why) {
    $("where").textContent = why.message;
    say(why.message);
  }
  button.disabled = false;
}

const LIMITS = [
  ["memory", "Memory", "all buffered bytes together, such as 256MiB"],
  ["outbox", "Outbox", "how far one subscriber may fall behind, such as 32MiB"],
  ["workers", "Workers", "threads that verify"],
  ["log", "Log", "error, warn, info, debug or trace"],
  ["max-in-flight", "With the handlers", "frames that they have at once", "calls"],
  ["max-queued", "Waiting for the handlers", "frames that may wait", "calls"],
  ["overflow", "Beyond that", "pause or reject", "calls"],
  ["handlers", "Handlers", "programs that run", "calls"],
  ["http-max-in-flight", "Requests of the HTTP sink", "under way at once", "http"],
];
for (const [name, label, hint, of] of LIMITS) {
  const field = element("div", "limit");
  if (of) field.dataset.of = of;
  const title = element("label", "", `${label} `);
  title.htmlFor = `limit-${name}`;
  title.append(element("span", "hint", `– ${hint}`));
  const input = element("input");
  Object.assign(input, { id: `limit-${name}`, name, autocomplete: "off", spellcheck: false });
  const button = element("button", "quiet", "Set");
  button.type = "button";
  button.setAttribute("aria-label", `Set ${name}`);
  const set = async () => {
    const said = $("limits-said");
    try {
      const change = await steer("set", { name, value: input.value });
      said.className = "note good";
      said.textContent = `✓ ${change.name}: ${change.old} → ${change.new}${change.also ? ` (${change.also})` : ""}`;
    } catch (why) {
      said.className = "note bad";
      said.textContent = `✕ ${why.message}`;
    }
  };
  button.addEventListener("click", set);
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); set(); } });
  const row = element("div", "row");
  row.append(input, button);
  field.append(title, row);
  $("limit-fields").append(field);
}

function openLimits() {
  if ($("open-limits").disabled || document.querySelector("dialog[open]")) return;
  $("limits-said").textContent = "";
  const has = { calls: state.status?.calls, http: state.status?.sinks?.each.some((sink) => sink.name === "http") };
  document.querySelectorAll("[data-of]").forEach((field) => { field.hidden = !has[field.dataset.of]; });
  LIMITS.forEach(([name]) => { $(`limit-${name}`).value = state.status?.settings[name] ?? ""; });
  $("limits").showModal();
}

$("pause").addEventListener("click", pauseOrResume);
$("open-limits").addEventListener("click", openLimits);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input") || document.querySelector("dialog[open]")) return;
  if (event.key === "p") pauseOrResume();
  if (event.key === "l") openLimits();
});

/* ---- What comes from the gateway ---- */

let source = null;
function listen() {
  source?.close();
  source = new EventSource("/events");
  const on = (name, take) => source.addEventListener(name, (event) => { heard(); take(JSON.parse(event.data)); });
  on("history", (samples) => { state.samples = samples; drawCharts(); });
  on("sample", (sample) => {
    state.samples.push(sample);
    if (state.samples.length > 900) state.samples.shift();
    drawCharts();
  });
  on("status", showStatus);
  source.onerror = () => gone();
}

function heard() {
  state.heard = Date.now();
  $("gone").hidden = true;
  document.body.classList.remove("is-gone");
}

function gone() {
  source?.close();
  source = null;
  const first = $("gone").hidden;
  $("gone").hidden = false;
  document.body.classList.add("is-gone");
  $("phase").dataset.phase = "gone";
  $("phase").textContent = "gone";
  $("pause").disabled = $("open-limits").disabled = true;
  document.title = "gone – Framegate";
  attend([{ kind: "warn", text: "What is shown below is as it was when the gateway was last heard." }]);
  if (first) $("gone-detail").textContent = `${state.heard ? `It was last heard at ${new Date(state.heard).toLocaleTimeString()}. ` : ""}This page tries again every second, and goes on by itself.`;
}

setInterval(() => {
  if (source === null) listen();
  // One that answers nothing at all is as good as gone.
  else if (Date.now() - state.heard > 6000 && state.heard > 0) gone();
}, 1000);
drawCharts();
listen();
