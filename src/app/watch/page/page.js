"use strict";

// The page of `sega watch`. The server sends the whole view at every change; the page draws it. Nothing is kept here but
// what the reader chose: the recipe, the seed, the divider, the overlays.

const element = (id) => document.getElementById(id);
const COLORS = ["#ff5c35", "#2684ff", "#2eb85c", "#d640bd", "#f2b000", "#00b2b2"];

let view = null;
let online = false;
const chosen = { recipe: 0, seed: 0, divide: 0, effects: new Set() };

// Connection. An EventSource tries again by itself after a broken connection, but not after every kind of failure.

function connect() {
  const events = new EventSource("/events");
  events.onopen = () => setOnline(true);
  events.onmessage = (message) => {
    const next = JSON.parse(message.data);
    // A program that was started again numbers its pictures anew, and may bring another page.
    if (view && view.instance !== next.instance) return location.reload();
    view = next;
    setOnline(true);
    draw();
  };
  events.onerror = () => {
    setOnline(false);
    if (events.readyState === EventSource.CLOSED) setTimeout(connect, 1000);
  };
}

function setOnline(value) {
  if (online === value) return;
  online = value;
  document.body.classList.toggle("offline", !online);
  if (view) drawTabs();
  drawStanding();
}

const ask = (what) => fetch(`/ask/${what}`, { method: "POST" }).catch(() => setOnline(false));

// Drawing.

const recipe = () => view?.recipes[Math.min(chosen.recipe, view.recipes.length - 1)];
const picture = () => recipe()?.pictures[Math.min(chosen.seed, recipe().pictures.length - 1)];

function draw() {
  drawTabs();
  drawStanding();
  drawPicture();
  drawProblem();
  drawProgress();
  drawSeeds();
  drawSide();
}

/** A new element with these attributes and children. */
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node[name] = value;
    else if (value !== null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** A message whose literals stand in back-ticks, as nodes. */
const literals = (text) => text.split(/`([^`]+)`/).map((part, index) => (index % 2 ? make("code", {}, part) : part));

/** Replaces the children of a node, if what they are made from has changed. */
function redraw(node, data, children) {
  const key = JSON.stringify(data);
  if (node.dataset.drawn === key) return;
  node.dataset.drawn = key;
  node.replaceChildren(...children());
}

function standing(of = recipe()) {
  if (!online) return ["offline", view ? "not running: waiting for it to come back" : "connecting"];
  if (!of) return ["waiting", "no recipe yet"];
  if (of.problem) return ["broken", of.problem.title];
  if (of.fetching) return ["fetching", fetchingWords(of.fetching)];
  if (view.paused) return ["paused", "paused"];
  const words = { waiting: "waiting", rendering: "rendering", done: "up to date", failed: "the render failed" };
  return [of.standing, words[of.standing]];
}

/** How far a model's file is. */
function fetchingWords({ model, file, done, total, note }) {
  const share = total && !note ? `, ${Math.floor((100 * done) / total)} % of ${bytes(total)}` : "";
  return `fetching ${model}${file ? `: ${file.split("/").pop()}` : ""}${share}${note ? `, ${note}` : ""}`;
}

function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const unit = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, count)) / 3));
  return `${(count / 1000 ** unit).toPrecision(3)} ${units[unit]}`;
}

function drawTabs() {
  const names = view.recipes.map((each) => [each.name, standing(each)[0]]);
  redraw(element("recipes"), [names, chosen.recipe], () =>
    names.map(([name, state], index) =>
      make("button", {
        "aria-current": String(index === chosen.recipe),
        "data-state": state,
        onclick: () => choose({ recipe: index, seed: 0 }),
      }, make("span", { class: "dot" }), name)));
}

function drawStanding() {
  const [state, words] = standing();
  element("standing").dataset.state = state;
  element("standing").querySelector(".words").textContent = words;
  const now = picture();
  const fetching = recipe()?.fetching;
  const percent = now && state === "rendering" ? Math.round((100 * now.step) / now.steps)
    : state === "fetching" ? Math.floor((100 * fetching.done) / (fetching.total ?? Infinity)) : null;
  const marks = { done: "\u2713 ", broken: "\u2715 ", failed: "\u2715 ", paused: "\u2016 ", offline: "\u2026 " };
  const mark = percent === null ? marks[state] ?? "" : `${percent}% `;
  document.title = `${mark}${recipe()?.name ?? "sega watch"}`;
  drawIcon(state, percent);
}

let iconDrawn = "";

/** A ring that fills while rendering; otherwise a disc in the colour of the state. */
function drawIcon(state, percent) {
  const colors = { done: "#1f8a4c", broken: "#c8322b", failed: "#c8322b", rendering: "#c27803", fetching: "#c27803" };
  const color = colors[state] ?? "#7a8599";
  const around = 2 * Math.PI * 12;
  const ring = `<circle cx="16" cy="16" r="12" fill="none" stroke="#8886" stroke-width="7"/>
    <circle cx="16" cy="16" r="12" fill="none" stroke="${color}" stroke-width="7"
      stroke-dasharray="${(around * (percent ?? 0)) / 100} ${around}" transform="rotate(-90 16 16)"/>`;
  const disc = `<circle cx="16" cy="16" r="13" fill="${color}"/>`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">${percent === null ? disc : ring}</svg>`;
  if (svg === iconDrawn) return;
  iconDrawn = svg;
  element("icon").href = `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

/** Pictures that were shown lately, ready to be shown again, as after an undo. */
const ready = new Map();
const READY = 12;

function keep(source, loaded) {
  ready.delete(source);
  ready.set(source, loaded);
  if (ready.size > READY) ready.delete(ready.keys().next().value);
}

/** Shows a picture once it has been loaded, so that the one before stays until then. A preview will not be seen again. */
function show(img, image, preview) {
  const source = image ? `/picture/${image.id}` : "";
  if (img.dataset.wanted === source) return;
  img.dataset.wanted = source;
  img.preview = preview;
  if (!source) return img.removeAttribute("src");
  if (ready.has(source)) {
    img.coming = null;
    img.src = source;
    return keep(source, ready.get(source));
  }
  if (!img.coming) load(img);
}

/** Loads the picture that is wanted, one after the other: of those that come meanwhile only the newest is. */
function load(img) {
  const [source, preview] = [img.dataset.wanted, img.preview];
  const coming = new Image();
  coming.onload = coming.onerror = ({ type }) => {
    if (img.coming !== coming) return;
    img.coming = null;
    if (!img.dataset.wanted) return;
    if (type === "load") {
      img.src = source;
      if (!preview) keep(source, coming);
    }
    if (img.dataset.wanted !== source) load(img);
  };
  img.coming = coming;
  coming.src = source;
}

function drawPicture() {
  const now = picture();
  const stage = element("stage");
  const after = now?.preview ?? now?.current ?? null;
  const before = now?.preview ? now.current : now?.previous ?? null;
  if (now) document.documentElement.style.setProperty("--ratio", now.width / now.height);
  show(element("after"), after, Boolean(now?.preview));
  show(element("before"), before, false);
  element("after-tag").textContent = now?.preview ? "in the making" : "now";
  stage.classList.toggle("empty", !after);
  element("placeholder").textContent = recipe()?.problem ? "no picture yet" : "waiting for the first picture";
  stage.classList.toggle("comparable", Boolean(before));
  setDivide(chosen.divide);

  const effects = now && !now.preview ? now.effects : [];
  redraw(element("effects"), effects, () =>
    effects.map((effect) => make("img", { src: `/picture/${effect.image.id}`, alt: "", "data-name": effect.name })));
  const shown = (name) => chosen.effects.has(name);
  for (const img of element("effects").children) img.classList.toggle("shown", shown(img.dataset.name));
  stage.classList.toggle("dimmed", effects.some((effect) => shown(effect.name)));
}

function setDivide(percent) {
  chosen.divide = Math.max(0, Math.min(100, percent));
  const stage = element("stage");
  const divide = stage.classList.contains("comparable") ? chosen.divide : 0;
  stage.style.setProperty("--divide", `${divide}%`);
  stage.classList.toggle("divided", divide > 0 && divide < 100);
  stage.style.setProperty("--before-tag", divide > 12 ? 1 : 0);
  stage.style.setProperty("--after-tag", divide < 88 ? 1 : 0);
  element("divider").setAttribute("aria-valuenow", Math.round(divide));
}

function drawProblem() {
  const problem = recipe()?.problem ?? null;
  const node = element("problem");
  node.hidden = !problem;
  element("stage").classList.toggle("broken", Boolean(problem));
  if (!problem) return;
  redraw(node, problem, () => [
    make("h3", {}, ...literals(problem.title)),
    ...problem.diagnostics.map((diagnostic) => {
      const label = diagnostic.labels[0];
      return make("article", { class: diagnostic.severity },
        make("span", { class: "code" }, diagnostic.code),
        make("p", {}, ...literals(diagnostic.message)),
        label ? excerpt(diagnostic.source_line, label) : null,
        diagnostic.help ? make("p", { class: "help" }, ...literals(diagnostic.help)) : null);
    }),
  ]);
}

/** The line of a mistake with its place marked. */
function excerpt(line, label) {
  const characters = [...line];
  const start = label.column - 1;
  const end = label.end_line > label.line ? characters.length : Math.max(label.end_column - 1, start + 1);
  const part = (from, to) => characters.slice(from, to).join("");
  return make("pre", {},
    make("span", { class: "line" }, `${label.line} | `),
    part(0, start), make("mark", {}, part(start, end) || "\u00a0"), part(end));
}

function drawProgress() {
  const now = picture();
  const bar = element("bar");
  const steps = now?.steps ?? 0;
  // More ticks than there is room for are a plain bar.
  const ticks = Math.min(steps, 120);
  bar.classList.toggle("dense", ticks > 60);
  redraw(bar, [ticks, steps, now?.step, now?.resumed], () =>
    Array.from({ length: ticks }, (_, tick) => {
      const step = (tick * steps) / ticks;
      const state = step >= now.step ? "" : step < now.resumed ? "reused" : "made";
      return make("i", { class: state });
    }));
  element("progress").textContent = now ? progressWords(now) : "";
}

function progressWords(now) {
  const from = now.resumed > 0 ? `, from step ${now.resumed} on` : "";
  if (now.rendering) return `step ${now.step} of ${now.steps}${from}`;
  if (now.seconds === null) return "";
  const time = now.seconds < 1 ? `${Math.round(now.seconds * 1000)} ms` : `${now.seconds.toFixed(1)} s`;
  if (now.resumed >= now.steps) return "known already: nothing was rendered";
  const made = now.steps - now.resumed;
  return `${made === now.steps ? made : `${made} of ${now.steps}`} steps in ${time}${from}`;
}

function drawSeeds() {
  const pictures = recipe()?.pictures ?? [];
  const data = pictures.map((each) => [each.seed, (each.preview ?? each.current)?.id]);
  document.querySelector(".easel").classList.toggle("several", pictures.length > 1);
  redraw(element("seeds"), [data, chosen.seed], () =>
    pictures.length < 2 ? [] : data.map(([seed, id], index) =>
      make("button", { "aria-current": String(index === chosen.seed), onclick: () => choose({ seed: index }) },
        make("img", { src: id ? `/picture/${id}` : null, alt: "" }), String(seed))));
}

function drawSide() {
  const now = picture();
  const changes = recipe()?.changes ?? [];
  redraw(element("changes"), changes, () =>
    changes.map((change) => make("li", {},
      make("b", {}, change.what),
      change.before === null ? null : make("del", {}, change.before),
      change.before === null || change.after === null ? null : " \u2192 ",
      change.after === null ? null : make("ins", {}, change.after))));
  const invitation = changes.length || !now?.current ? "" : "edit the recipe: what you change stands here";
  const note = recipe()?.note ?? invitation;
  redraw(element("note"), note, () => literals(note));
  element("changes-section").hidden = !note && changes.length === 0;
  element("facts-section").hidden = !now;

  const effects = now?.effects ?? [];
  element("effects-section").hidden = effects.length === 0;
  redraw(element("effect-toggles"), [effects.map((e) => [e.name, e.direction, e.share]), [...chosen.effects]], () =>
    effects.map((effect, index) =>
      make("button", {
        "aria-pressed": String(chosen.effects.has(effect.name)),
        style: null,
        "data-color": index % COLORS.length,
        onclick: () => toggleEffect(effect.name),
      }, make("i"), `${effect.direction === "minus" ? "\u2212" : "+"} ${effect.name}`,
        make("small", {}, `${Math.round(100 * effect.share)} %`))));
  // Styles in attributes are not allowed here, those of the object model are.
  for (const node of document.querySelectorAll("[data-color]")) node.style.setProperty("--color", COLORS[node.dataset.color]);

  const warnings = recipe()?.warnings ?? [];
  element("warnings-section").hidden = warnings.length === 0;
  redraw(element("warnings"), warnings, () => warnings.map((warning) => make("li", {}, ...literals(warning))));

  const facts = now ? [["file", now.file], ["seed", String(now.seed)], ["size", `${now.width} \u00d7 ${now.height}`], ["steps", String(now.steps)]] : [];
  redraw(element("facts"), facts, () => facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  element("pause").querySelector("span").textContent = view.paused ? "go on" : "pause";
}

// What the reader does.

function choose(choice) {
  Object.assign(chosen, choice);
  // What is on its way is of another.
  for (const id of ["after", "before"]) element(id).coming = null;
  draw();
}

function toggleEffect(name) {
  if (!chosen.effects.delete(name)) chosen.effects.add(name);
  draw();
}

function drag(event) {
  const box = element("stage").getBoundingClientRect();
  setDivide((100 * (event.clientX - box.left)) / box.width);
}

element("stage").onpointerdown = (event) => {
  const stage = element("stage");
  if (event.button !== 0 || !stage.classList.contains("comparable") || element("problem").contains(event.target)) return;
  // A finger may also want to scroll: it has to take the handle.
  if (event.pointerType !== "mouse" && !element("divider").contains(event.target)) return;
  stage.setPointerCapture(event.pointerId);
  stage.onpointermove = drag;
  drag(event);
};
element("stage").onpointerup = element("stage").onpointercancel = () => { element("stage").onpointermove = null; };
element("pause").onclick = () => ask("pause");
element("again").onclick = () => ask(`again/${chosen.recipe}`);
element("keep").onclick = () => ask(`keep/${chosen.recipe}`);

let heldDivide = null;

document.onkeydown = (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !view) return;
  const onButton = event.target instanceof HTMLButtonElement;
  if (event.key === " " && !onButton) {
    event.preventDefault();
    if (heldDivide === null) heldDivide = chosen.divide;
    return setDivide(100);
  }
  if (event.key === "Enter" && !onButton) return ask(`again/${chosen.recipe}`);
  if (event.key === "ArrowLeft") return setDivide(chosen.divide - 5);
  if (event.key === "ArrowRight") return setDivide(chosen.divide + 5);
  if (event.key === "p") return ask("pause");
  if (event.key === "s") return ask(`keep/${chosen.recipe}`);
  if (event.key === "e") {
    const all = (picture()?.effects ?? []).map((effect) => effect.name);
    chosen.effects = new Set(chosen.effects.size ? [] : all);
    return draw();
  }
  const number = Number(event.key);
  if (number >= 1 && number <= view.recipes.length) choose({ recipe: number - 1, seed: 0 });
};

document.onkeyup = (event) => {
  if (event.key !== " " || heldDivide === null) return;
  setDivide(heldDivide);
  heldDivide = null;
};

connect();
