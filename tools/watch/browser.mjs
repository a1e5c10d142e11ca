// Drives `sega watch` as people do: real editors (vim, nano, emacs, sed -i, git checkout) on one side, a real browser on
// the other. Looks at the page for what each edit must lead to, and leaves screenshots.
//
//   npm install --prefix /tmp/browser playwright-core
//   SEGA_PLAYWRIGHT=/tmp/browser node tools/watch/browser.mjs
//
// Environment: SEGA (the program), CHROMIUM (the browser), SEGA_PLAYWRIGHT (the folder of playwright-core), OUT (screenshots),
// SEGA_MODEL (a model with an AutoencoderKL, whose previews are linear: without it they are not looked at), UNDOS and RENDERS (how many).

import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const program = resolve(process.env.SEGA ?? "target/release/sega");
const out = resolve(process.env.OUT ?? "target/watch");
const require = createRequire(join(resolve(process.env.SEGA_PLAYWRIGHT ?? "."), "index.js"));
const { chromium } = require("playwright-core");

// How many undos are measured, and how many renders a page must bear.
const UNDOS = Number(process.env.UNDOS ?? 20);
const RENDERS = Number(process.env.RENDERS ?? 200);

const RECIPE = `sega 1

model     "mini"
prompt    "a portrait of a woman"
seed      42
steps     20
guidance  5

plus glasses "glasses" {
  strength  5
  threshold 90%
  warmup    6
}

minus smile "smile" {
  steps     10..
  warmup    0
  strength  4
}
`;

mkdirSync(out, { recursive: true });
const folder = mkdtempSync(join(tmpdir(), "sega-browser-"));
const file = join(folder, "portrait.sega");
const has = (name) => { try { execFileSync("which", [name]); return true; } catch { return false; } };
const has_file = (name) => existsSync(join(folder, name));
const write = (text) => writeFileSync(file, text);
const text = () => readFileSync(file, "utf8");
write(RECIPE);

function start(...recipes) {
  const names = recipes.length ? recipes : ["portrait.sega"];
  const child = spawn(program, ["watch", "--json", ...names], { cwd: folder, stdio: ["ignore", "pipe", "inherit"] });
  let rest = "";
  const address = new Promise((found) => {
    child.stdout.on("data", (data) => {
      rest += data;
      const line = rest.split("\n").find((line) => line.includes('"serving"'));
      if (line) found(JSON.parse(line).address);
    });
  });
  return { child, address };
}

const stop = (watch) => new Promise((ended) => { watch.child.on("exit", ended); watch.child.kill("SIGINT"); });

// The editors. Each changes the strength of `glasses` to a value.

const substitution = (value) => `s/^  strength  [0-9.]*$/  strength  ${value}/`;

const editors = {
  "sed -i": (value) => execFileSync("sed", ["-i", `0,/^  strength/${substitution(value)}`, file]),
  vim: (value) => execFileSync("vim", ["-es", "-u", "NONE", "-c", "/^  strength", "-c", substitution(value), "-c", "wq", file]),
  "vim with backups": (value) =>
    execFileSync("vim", ["-es", "-u", "NONE", "-c", "set backup backupcopy=no", "-c", "/^  strength", "-c", substitution(value), "-c", "wq", file]),
  nano: (value) => inTerminal(`nano -I ${file}`, [
    // Search and replace, the first alone: ^\ strength, replacement, yes once, then no more, save, leave.
    ["\x17strength\r", 300], ["\x05", 100], ["\x7f".repeat(3) + "  " + value, 200], ["\x0f\r", 300], ["\x18", 300],
  ]),
  emacs: (value) => execFileSync("emacs", ["-Q", "--batch", file, "--eval",
    `(progn (re-search-forward "^  strength  [0-9.]*$") (replace-match "  strength  ${value}") (save-buffer))`], { stdio: "ignore" }),
  "git checkout": (value) => {
    const git = (...arguments_) => execFileSync("git", ["-c", "user.name=a", "-c", "user.email=a@b", ...arguments_], { cwd: folder, stdio: "ignore" });
    const before = text();
    git("init", "-q"); git("add", "portrait.sega"); git("commit", "-qm", "before");
    git("checkout", "-qb", "other");
    write(before.replace(/strength  [0-9.]+/, `strength  ${value}`)); git("commit", "-qam", "other");
    git("checkout", "-q", "-"); git("checkout", "-q", "other");
  },
  "rename over": (value) => {
    writeFileSync(file + ".new", text().replace(/strength  [0-9.]+/, `strength  ${value}`));
    renameSync(file + ".new", file);
  },
};

/** Types into a program that needs a terminal. */
function inTerminal(command, keys) {
  return new Promise((ended) => {
    const child = spawn("script", ["-qec", command, "/dev/null"], { stdio: ["pipe", "ignore", "ignore"], env: { ...process.env, TERM: "xterm" } });
    child.on("exit", ended);
    let wait = 500;
    for (const [typed, pause] of keys) { setTimeout(() => child.stdin.write(typed), wait); wait += pause; }
  });
}

// What is expected of the page.

const failures = [];
function expect(what, holds) {
  console.log(`${holds ? "ok  " : "FAIL"} ${what}`);
  if (!holds) failures.push(what);
}

let watch = start();
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
const page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
const requests = [];
page.on("request", (request) => requests.push(request.url()));
page.on("pageerror", (error) => expect(`no error in the page: ${error}`, false));
page.on("console", (message) => { if (message.type() === "error" && !/ERR_CONNECTION|ERR_INCOMPLETE/.test(message.text())) expect(`nothing in the console: ${message.text()}`, false); });
const shot = (name) => page.screenshot({ path: join(out, `${name}.png`) });
const standing = (state) => page.waitForSelector(`#standing[data-state="${state}"]`, { timeout: 120_000 });
const source = () => page.evaluate(() => document.getElementById("after").getAttribute("src"));
const changed = async (before) => {
  await page.waitForFunction((before) => {
    const now = document.getElementById("after").getAttribute("src");
    return now && now !== before && document.getElementById("standing").dataset.state === "done";
  }, before, { timeout: 120_000 });
};

const address = await watch.address;
await page.goto(address);
await standing("done");
await page.waitForTimeout(300);
await shot("1-done");
expect("the title says done", (await page.title()).startsWith("\u2713"));
write(RECIPE.replace("steps     20", "steps     400"));
await page.waitForFunction(() => document.querySelectorAll("#bar .made").length > 30, null, { timeout: 120_000 });
await page.waitForFunction(() => document.getElementById("after-tag").textContent === "in the making");
await page.evaluate(() => setDivide(50));
await page.waitForTimeout(200);
await shot("2-rendering");
expect("the title says how far it is", /^\d+% /.test(await page.title()));
await page.evaluate(() => setDivide(0));
const full = await source();
write(RECIPE);
await changed(full);

let strength = 5;
for (const [name, edit] of Object.entries(editors)) {
  if (!has(name.split(" ")[0]) && name !== "rename over") { console.log(`skip ${name}: not installed`); continue; }
  strength += 1;
  const before = await source();
  await edit(String(strength));
  expect(`${name} saved`, text().includes(`strength  ${strength}`));
  const arrived = await changed(before).then(() => true, () => false);
  const told = await page.textContent("#changes");
  expect(`${name}: the new picture is there, and the change is told (${told})`, arrived && told.includes(String(strength)));
}

// Compare, with the divider in the middle.
await page.evaluate(() => setDivide(50));
await page.waitForTimeout(200);
await shot("3-compared");
await page.evaluate(() => setDivide(0));

// Effects.
await page.keyboard.press("e");
await page.waitForTimeout(400);
await shot("4-effects");
await page.keyboard.press("e");

// Undo: from the saved file to the frame in which the browser has painted the picture.
const beforeUndo = await source();
const good = text();
const other = good.replace(/strength  [0-9.]+/, "strength  10");
write(other);
await changed(beforeUndo);
const undone = [];
for (let at = 0; at < UNDOS; at += 1) {
  await page.waitForTimeout(250);
  await page.evaluate(() => {
    window.painted = new Promise((found) => {
      const img = document.getElementById("after");
      new MutationObserver(async (_, observer) => {
        observer.disconnect();
        await img.decode();
        requestAnimationFrame(() => {
          const after = new MessageChannel();
          after.port1.onmessage = () => found(Date.now());
          after.port2.postMessage(null);
        });
      }).observe(img, { attributes: true, attributeFilter: ["src"] });
    });
  });
  const began = Date.now();
  write(at % 2 ? other : good);
  undone.push((await page.evaluate(() => window.painted)) - began);
}
undone.sort((a, b) => a - b);
console.log(`     undo to the picture painted: ${undone[0]} to ${undone.at(-1)} ms, median ${undone[undone.length >> 1]} (${undone.length} undos)`);
write(good);
await page.waitForTimeout(500);
expect("an undo is known already", (await page.textContent("#progress")).includes("known already"));

// A page that is left open: after many renders it holds no more than after a few.
const session = await page.context().newCDPSession(page);
await session.send("Performance.enable");
const held = async () => {
  await session.send("HeapProfiler.collectGarbage");
  const { metrics } = await session.send("Performance.getMetrics");
  const value = (name) => metrics.find((metric) => metric.name === name).value;
  return { heap: value("JSHeapUsedSize"), nodes: value("Nodes"), listeners: value("JSEventListeners") };
};
const render = async (from, count) => {
  for (let at = from; at < from + count; at += 1) {
    const before = await source();
    write(good.replace(/strength  [0-9.]+/, `strength  ${1 + (at % 1800) / 100}`));
    await changed(before);
  }
};
await render(1, 40);
const early = await held();
await render(41, RENDERS);
const late = await held();
console.log(`     the page after 40 renders and after ${RENDERS} more: heap ${(early.heap / 1e6).toFixed(2)} and ${(late.heap / 1e6).toFixed(2)} MB, ` +
  `${early.nodes} and ${late.nodes} nodes, ${early.listeners} and ${late.listeners} listeners`);
expect("a page that is left open does not grow", late.heap < early.heap * 1.25 && late.nodes < early.nodes * 1.25 && late.listeners <= early.listeners + 8);
const beforeGood = await source();
write(good);
await changed(beforeGood);

// Broken, and mended.
const last = await source();
write(good.replace("threshold 90%", "treshold 90").replace("guidance  5", "guidence  5"));
await standing("broken");
await page.waitForTimeout(300);
await shot("5-broken");
expect("the mistakes are told", (await page.textContent("#problem")).includes("did you mean threshold 90%"));
expect("the last picture stays", (await source()) === last);
expect("the title says broken", (await page.title()).startsWith("\u2715"));
write(good);
await standing("done");
expect("mended, the mistakes are gone", await page.isHidden("#problem"));

// A copy.
await page.keyboard.press("s");
const keptNote = await page.waitForFunction(() => document.getElementById("note").textContent.includes("kept a copy"), null, { timeout: 10_000 }).then(() => true, () => false);
expect("a copy is kept, and the page says so", keptNote && has_file("portrait-kept-1.png"));

// Gone, and back.
rmSync(file);
await standing("broken");
expect("a missing recipe is told", (await page.textContent("#problem")).includes("gone"));
write(good);
await standing("done");

// The program ends and starts again.
await stop(watch);
await standing("offline");
await shot("6-offline");
watch = start();
expect("the address is the same", (await watch.address) === address);
await standing("done");
expect("the page has found the program again", true);

// A phone.
await page.setViewportSize({ width: 390, height: 844 });
await page.waitForTimeout(300);
await shot("7-phone");
write(good.replace("threshold 90%", "treshold 90"));
await standing("broken");
await page.waitForTimeout(300);
await shot("8-phone-broken");
expect("nothing is wider than a phone", await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
write(good);
await standing("done");
await page.emulateMedia({ colorScheme: "dark" });
await page.setViewportSize({ width: 1280, height: 860 });
await page.waitForTimeout(300);
await shot("9-dark");

// Several recipes, several seeds, and a model whose previews are linear.
await page.emulateMedia({ colorScheme: "light" });
await stop(watch);
writeFileSync(join(folder, "seeds.sega"), RECIPE.replace("seed      42", "seed      [1, 2, 3, 4]"));
writeFileSync(join(folder, "broken.sega"), RECIPE.replace("guidance  5", "guidance  five"));
const recipes = ["portrait.sega", "seeds.sega", "broken.sega"];
if (process.env.SEGA_MODEL) {
  const text = RECIPE.replace('"mini"', JSON.stringify(resolve(process.env.SEGA_MODEL))).replace("steps     20", "steps     300").replace("seed", "size      256x256\nseed");
  writeFileSync(join(folder, "linear.sega"), text);
  recipes.push("linear.sega");
}
watch = start(...recipes);
await page.goto(await watch.address);
await page.waitForFunction(() => document.querySelectorAll("#recipes button").length > 2);
await page.keyboard.press("2");
await page.waitForFunction(() => document.querySelectorAll("#seeds img[src]").length === 4, null, { timeout: 120_000 });
await standing("done");
await page.waitForTimeout(300);
await shot("10-several");
await page.keyboard.press("3");
await standing("broken");
await page.waitForTimeout(200);
await shot("11-broken-from-the-start");
if (process.env.SEGA_MODEL) {
  await page.keyboard.press("4");
  await page.waitForFunction(() => document.querySelectorAll("#bar .made").length > 20 && document.getElementById("after").getAttribute("src"), null, { timeout: 120_000 });
  await shot("12-linear");
}

expect("nothing was asked of others", requests.every((url) => /^(data:|http:\/\/127\.0\.0\.1:\d+\/)/.test(url)));
await browser.close();
await stop(watch);
rmSync(folder, { recursive: true });
console.log(failures.length ? `${failures.length} failed` : "all well");
process.exit(failures.length ? 1 : 0);
