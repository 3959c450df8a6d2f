// The page in a real browser, against the real program: what it shows agrees with /status, its controls
// work, it outlives its gateway, and everyone can use it. Arguments: the program, the browser, and
// (optionally) a folder for screenshots. Exits 0 if all holds.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [program, browserPath, pictures] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const folder = mkdtempSync(join(tmpdir(), "framegate-page-"));
const TOKEN = "0123456789abcdef0123456789abcdef";
const children = new Set();

/* ---- A gateway and its peers ---- */

async function serve(listen, admin, options = []) {
  const child = spawn(program, ["serve", "--listen", listen, "--admin", admin, ...options], { stdio: ["ignore", "ignore", "pipe"] });
  children.add(child);
  const found = {};
  for await (const line of createInterface({ input: child.stderr })) {
    found.listen ??= /listening on ([\d.:]+),/.exec(line)?.[1];
    found.layout ??= /listening for layout \S+ on ([\d.:]+)/.exec(line)?.[1];
    found.admin ??= /on (http:\/\/[\d.:]+)\//.exec(line)?.[1];
    if (found.listen && found.admin) break;
  }
  assert.ok(found.admin, "the gateway begins to listen");
  // Nobody reads what else it says.
  child.stderr.resume();
  const [host, port] = found.listen.split(":");
  return { ...found, child, host, port: Number(port), status: async () => (await fetch(`${found.admin}/status`)).json() };
}

async function end(gateway, signal = "SIGKILL") {
  gateway.child.kill(signal);
  await once(gateway.child, "exit");
  children.delete(gateway.child);
}

function frame(topic, payload, { kind = 0, wantReply = false, part = [0, 0] } = {}) {
  const name = Buffer.from(topic);
  const body = Buffer.alloc(32 + name.length + payload.length);
  body.write("FG");
  body.set([1, kind, wantReply ? 1 : 0, name.length], 2);
  body.writeUInt32BE(payload.length, 8);
  body.writeUInt16BE(part[0], 12);
  body.writeUInt16BE(part[1], 14);
  body.set(name, 32);
  body.set(payload, 32 + name.length);
  return Buffer.concat([body, createHash("sha256").update(body).digest()]);
}

async function connect(gateway, port = gateway.port) {
  const socket = net.connect(port, gateway.host);
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

async function subscribe(gateway, pattern, { frozen = false } = {}) {
  const socket = await connect(gateway);
  const answered = once(socket, "data");
  socket.write(frame(pattern, Buffer.alloc(0), { kind: 2, wantReply: true }));
  await answered;
  if (frozen) socket.pause();
  else socket.resume();
  return socket;
}

/* Publishes until it is stopped: a few frames each 20 ms, as far as the gateway takes them. */
async function publish(gateway, topic, size, count, change = (bytes) => bytes) {
  const socket = await connect(gateway);
  const one = change(frame(topic, Buffer.alloc(size, 7)));
  const many = Buffer.concat(Array(count).fill(one));
  let sent = 0;
  const timer = setInterval(() => {
    if (socket.writableLength === 0) {
      socket.write(many);
      sent += count;
    }
  }, 20);
  return { socket, sent: () => sent, address: `127.0.0.1:${socket.localPort}`, stop: () => clearInterval(timer) };
}

/* ---- The page ---- */

const text = (page, selector) => page.textContent(selector);
const raw = async (page, name) => Number(await page.getAttribute(`[data-ledger="${name}"]`, "data-raw"));
const phase = (page, name) => page.waitForFunction((name) => document.getElementById("phase").dataset.phase === name, name);
const attention = (page, part, timeout = 5000) =>
  page.waitForFunction((part) => document.getElementById("attention").textContent.includes(part), part, { timeout });

async function audit(page, where) {
  // The page's policy lets no script in but its own; this one comes over the debugger.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  const found = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ target }) => target).join("; ")}`);
  assert.deepEqual(found, [], `accessibility, ${where}`);
}

async function picture(page, name) {
  if (pictures) await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
}

const tests = {
  async "under load the numbers move and agree with /status"({ gateway, page }) {
    await attention(page, "All is well");
    await audit(page, "at rest");
    await subscribe(gateway, ">");
    const load = await publish(gateway, "logs.web", 200, 100);
    await page.waitForFunction(() => Number(document.querySelector("[data-series=frames_in]").dataset.raw) > 500);
    const before = await raw(page, "read");
    await page.waitForFunction((before) => Number(document.querySelector('[data-ledger="read"]').dataset.raw) > before, before);
    assert.equal(await text(page, "#balance"), "✓ balanced");
    assert.ok(Number(await page.getAttribute("[data-series=bytes_out]", "data-raw")) > 0);
    assert.ok(Number(await page.getAttribute("[data-series=verified_us_p99]", "data-raw")) > 0);
    load.stop();
    await page.waitForFunction((sent) => Number(document.querySelector('[data-ledger="read"]').dataset.raw) === sent, load.sent() + 1);
    const { ledger, settings } = await gateway.status();
    for (const [name, value] of [["read", ledger.read], ["delivered", ledger.delivered], ["control", ledger.control], ["in flight", 0]]) {
      assert.equal(await raw(page, name), value, name);
    }
    assert.ok((await text(page, "#settings")).includes(settings.memory));
    load.socket.end();
    await page.waitForFunction((address) => document.getElementById("closed").textContent.includes(address), load.address);
  },

  async "pause and resume work, by button and by key"({ gateway, page }) {
    await page.click("#pause");
    await phase(page, "paused");
    assert.equal((await gateway.status()).phase, "paused");
    await attention(page, "Paused by an operator");
    const late = await publish(gateway, "t", 100, 1);
    await page.waitForFunction(() => document.getElementById("paused").textContent.includes("an operator paused the gateway"));
    const { ledger } = await gateway.status();
    await audit(page, "paused");
    await picture(page, "paused");
    await page.locator("body").press("p");
    await phase(page, "running");
    await page.waitForFunction((read) => Number(document.querySelector('[data-ledger="read"]').dataset.raw) > read, ledger.read);
    assert.equal((await gateway.status()).phase, "running");
    late.stop();
    late.socket.end();
  },

  async "limits are changed, and what is wrong is told"({ gateway, page }) {
    await page.locator("body").press("l");
    await page.waitForSelector("#limits[open]");
    await audit(page, "the limits");
    await page.fill("#limit-memory", "64MiB");
    await page.press("#limit-memory", "Enter");
    await page.waitForFunction(() => document.getElementById("limits-said").textContent.startsWith("✓ memory: 256MiB → 64MiB"));
    assert.equal((await gateway.status()).memory.limit_bytes, 64 * 1024 * 1024);
    await page.fill("#limit-outbox", "big");
    await page.click("[aria-label='Set outbox']");
    await page.waitForFunction(() => document.getElementById("limits-said").textContent.includes("invalid size 'big'"));
    await picture(page, "limits");
    await page.keyboard.press("Escape");
    assert.equal(await page.locator("dialog[open]").count(), 0);
  },

  async "who is frozen, who is paused and who forges are found within 5 seconds"({ gateway, page }) {
    const frozen = await subscribe(gateway, "to.frozen", { frozen: true });
    const stuck = await publish(gateway, "to.frozen", 60_000, 20);
    await attention(page, `Subscriber 127.0.0.1:${frozen.localPort} has taken nothing for`);
    await attention(page, `Publisher ${stuck.address} has been paused`);
    const forger = await publish(gateway, "t", 100, 1, (bytes) => { bytes[bytes.length - 1] ^= 1; return bytes; });
    await attention(page, `of ${forger.address} were refused`);
    await page.waitForFunction(([by, who]) => {
      const row = [...document.querySelectorAll("#paused tbody tr")].find((row) => row.textContent.includes(who));
      return row?.textContent.includes(`subscriber ${by} is behind`);
    }, [`127.0.0.1:${frozen.localPort}`, stuck.address]);
    for (const [id, part] of [["slow", `127.0.0.1:${frozen.localPort}`], ["rejected", "BAD_DIGEST"]]) {
      assert.ok((await text(page, `#${id}`)).includes(part), id);
    }
    await audit(page, "in trouble, light");
    await page.emulateMedia({ colorScheme: "dark" });
    await audit(page, "in trouble, dark");
    await picture(page, "trouble-dark");
    await page.setViewportSize({ width: 390, height: 844 });
    await audit(page, "on a phone");
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${overflow} pixels too wide for a phone`);
    await picture(page, "trouble-phone");
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.emulateMedia({ colorScheme: "light" });
    await picture(page, "trouble-light");
    [stuck, forger].forEach((load) => { load.stop(); load.socket.destroy(); });
    frozen.destroy();
    await page.waitForFunction(() => document.querySelectorAll("#slow tbody tr, #paused tbody tr").length === 0);
  },

  async "the ledger adds up with messages of parts, and says what nobody has and what the window forgets"() {
    const other = await serve("127.0.0.1:0", "127.0.0.1:0", ["--dedup", "1h", "--max-payload", "1MiB", "--memory", "8MiB"]);
    const view = await browser.newPage();
    await view.goto(other.admin);
    const socket = await connect(other);
    const message = [0, 1].map((index) => frame("t", Buffer.alloc(10), { part: [index, 2] }));
    socket.write(Buffer.concat([...message, frame("t", Buffer.alloc(10))]));
    await view.waitForFunction(() => document.querySelector('[data-ledger="read"]')?.dataset.raw === "3");
    assert.equal(await text(view, "#balance"), "✓ balanced");
    assert.ok((await text(view, "#rejections")).includes("2 delivered matched no subscriber: nobody has them"));
    const { queues } = await other.status();
    socket.write(Buffer.concat([...Array(queues.dedup.max).keys()].map((n) => frame("t", Buffer.from(`${n}`)))));
    await attention(view, "Copies are recognised for ");
    await view.close();
    await end(other);
  },

  async "a handler that does not start is said, and the bar of the memory leaves nothing out"() {
    const other = await serve("127.0.0.1:0", "127.0.0.1:0", ["--handler", "sh -c 'echo no such model >&2; head -c 1 >/dev/null; exit 3'"]);
    const view = await browser.newPage();
    await view.goto(other.admin);
    const socket = await connect(other);
    socket.write(frame("t", Buffer.alloc(100)));
    await attention(view, "Handler 1 does not start: it ");
    await attention(view, "no such model. Frames wait for it.");
    const { memory } = await other.status();
    assert.ok(memory.answers_bytes > 0, JSON.stringify(memory));
    await view.waitForFunction((used) => document.querySelector('[aria-label="Memory"]').getAttribute("aria-valuenow") === `${used}`, memory.used_bytes);
    await view.close();
    await end(other);
  },

  async "listeners are listed with what came at each, wide and narrow"({ page }) {
    assert.ok(await page.isHidden("#listeners-card"), "one alone is not listed");
    const other = await serve("127.0.0.1:0", "127.0.0.1:0", ["--listen-layout", "gt06=127.0.0.1:0"]);
    const view = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    await view.goto(other.admin);
    const native = await connect(other);
    native.write(Buffer.concat([frame("t", Buffer.alloc(10)), frame("t", Buffer.alloc(10))]));
    const tracker = await connect(other, Number(other.layout.split(":")[1]));
    const [login, dirt, wrong] = ["78780D01086471700328358100093F040D0A", "414243", "78780C95130A0209321C91000112800D0A"];
    tracker.write(Buffer.from(login + dirt + wrong, "hex"));
    const cells = () => view.evaluate(() => [...document.querySelectorAll("#listeners tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent)));
    await view.waitForFunction(() => document.querySelectorAll("#listeners tbody tr")[1]?.cells[6].textContent === "3 B");
    const [first, second] = await cells();
    assert.deepEqual(first, ["native", other.listen, "1", "1", "2", "0", "0 B"]);
    const { ledger } = await other.status();
    assert.deepEqual(second, ["gt06", other.layout, "1", "1", `${ledger.listeners[1].read}`, `${ledger.listeners[1].rejected}`, "3 B"]);
    assert.ok(ledger.listeners[1].read >= 2 && ledger.listeners[1].rejected >= 1, JSON.stringify(ledger.listeners));
    await audit(view, "listeners");
    await picture(view, "listeners");
    await view.setViewportSize({ width: 390, height: 844 });
    const overflow = await view.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${overflow} pixels too wide for a phone`);
    await audit(view, "listeners on a phone");
    await picture(view, "listeners-phone");
    await view.close();
    await end(other);
  },

  async "the keyboard suffices"({ page }) {
    await page.locator("body").press("Tab");
    const seen = new Set();
    for (let i = 0; i < 40; i += 1) {
      seen.add(await page.evaluate(() => document.activeElement?.id || document.activeElement?.name || document.activeElement?.tagName));
      await page.keyboard.press("Tab");
    }
    for (const wanted of ["pause", "open-limits", "span", "CANVAS", "closed"]) assert.ok(seen.has(wanted), `Tab reaches ${wanted}: ${[...seen]}`);
    await page.focus("canvas");
    await page.keyboard.press("ArrowLeft");
    assert.match(await text(page, ".chart .at"), /: in .*, out/);
    await page.focus("input[name=span]:checked");
    await page.keyboard.press("ArrowRight");
    assert.ok(["5 minutes", "15 minutes"].includes(await text(page, "#span-name")));
  },

  async "a gateway that goes away is missed, and found again"({ gateway, page }) {
    await end(gateway);
    await page.waitForSelector("#gone:not([hidden])", { timeout: 10_000 });
    await phase(page, "gone");
    assert.ok(await page.isDisabled("#pause"));
    await audit(page, "without a gateway");
    await picture(page, "gone");
    const token = join(folder, "token");
    writeFileSync(token, TOKEN, { mode: 0o600 });
    const again = await serve(gateway.listen, gateway.admin.slice("http://".length), ["--admin-token-file", token]);
    await phase(page, "running");
    assert.ok(await page.isHidden("#gone"));
    Object.assign(gateway, again);
  },

  async "a token is asked for where it is needed"({ gateway, page }) {
    await page.click("#pause");
    await page.waitForSelector("#token[open]");
    await audit(page, "the token");
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => document.getElementById("said").textContent.includes("nothing was changed"));
    assert.equal((await gateway.status()).phase, "running");
    await page.click("#pause");
    await page.fill("#token-value", "0123456789abcdef-wrong");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.getElementById("token-said").textContent.includes("the token is wrong"));
    await page.fill("#token-value", TOKEN);
    await page.keyboard.press("Enter");
    await phase(page, "paused");
    await page.waitForFunction(() => document.getElementById("pause").textContent === "Resume" && !document.getElementById("pause").disabled);
    await page.click("#pause");
    await phase(page, "running");
  },
};

const browser = await chromium.launch({
  executablePath: browserPath,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
let failed = 0;
try {
  const gateway = await serve("127.0.0.1:0", "127.0.0.1:0", ["--slow", "pause", "--outbox", "1MiB", "--slow-timeout", "1h"]);
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, colorScheme: "light", reducedMotion: "reduce" });
  page.setDefaultTimeout(15_000);
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(error.message));
  page.on("console", (message) => {
    // That the gateway is gone is said by the browser too.
    if (message.type() === "error" && !/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|status of 40[01]/.test(message.text())) wrong.push(message.text());
  });
  page.on("request", (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol !== "data:" && origin !== gateway.admin) wrong.push(`it asks for ${request.url()}`);
  });
  await page.goto(gateway.admin);
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test({ gateway, page });
      console.log(`ok ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED ${name}\n${error.stack}`);
      await picture(page, "failed");
      break;
    }
  }
  if (wrong.length > 0) {
    failed += 1;
    console.log(`FAILED the browser's console:\n${wrong.join("\n")}`);
  }
} finally {
  await browser.close();
  children.forEach((child) => child.kill("SIGKILL"));
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed === 0 ? 0 : 1;
