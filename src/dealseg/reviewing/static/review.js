// Puts the page together: what is shown, what was decided, what can be undone.

import { Deck } from "./deck.js";
import { Grid } from "./grid.js";
import { listen } from "./keys.js";
import * as server from "./server.js";
import { Tags } from "./tags.js";
import { Viewer } from "./viewer.js";

const find = (id) => document.getElementById(id);
const deck = new Deck();
const viewer = new Viewer();
const tags = new Tags(toggle, setTags);
const grid = new Grid(deck, open, (position) => deck.move(position));
const undone = [];
const LAYERS = ["filled", "outlined", "none"];
const gridded = () => !find("grid").hidden;

function problem(error) {
  find("problem").textContent = error?.message ?? "";
  find("problem").hidden = !error;
}

const say = (text) => (find("said").textContent = text);

// Runs a handler whose failure is told on the page.
async function guarded(handler) {
  try {
    await handler();
  } catch (error) {
    problem(error);
  }
}

function count(counts) {
  const { all, accepted, rejected, open: left, edited } = counts;
  const number = (value) => value.toLocaleString("en");
  const parts = [`${number(accepted)} accepted`, `${number(rejected)} rejected`, `${number(left)} open`];
  if (edited) parts.push(`${number(edited)} edited`);
  find("counts").textContent = parts.join(" · ");
  const [good, bad] = find("done").children;
  good.style.width = `${(100 * accepted) / all}%`;
  bad.style.width = `${(100 * rejected) / all}%`;
  find("done").setAttribute("aria-valuemax", all);
  find("done").setAttribute("aria-valuenow", accepted + rejected);
}

// Shows the mask at the deck's place.
async function show(focus = false) {
  find("empty").hidden = deck.size > 0;
  find("single").hidden = find("panel").hidden = !deck.size;
  if (!deck.size) return;
  const position = deck.at;
  const item = await deck.item(position);
  if (position !== deck.at) return;
  tags.show(item);
  if (gridded()) {
    viewer.label(item, position, deck.size);
    grid.follow(focus);
  } else {
    viewer.show(item, position, deck.size).then(() => ahead(position));
  }
  await describe(item);
}

// Asks what is in the mask, unless the reader has gone on by then.
async function describe(item) {
  try {
    const facts = await server.facts(item.id);
    if (deck.id !== item.id) return;
    tags.fill(facts);
    find("depth").disabled = !facts.depth;
  } catch (error) {
    if (deck.id === item.id) viewer.complain(error.message);
  }
}

async function ahead(position) {
  await deck.load(position, position + 4);
  const next = [1, 2, 3, -1].map((step) => deck.known(position + step)).filter(Boolean);
  if (position === deck.at) viewer.preload(next);
}

const go = (position) =>
  guarded(async () => {
    const before = deck.at;
    deck.move(position);
    if (deck.at === before && position !== before) say("No more masks that way");
    await show(true);
  });

// Sends a change of the mask at a place, remembers how to take it back, and shows what came of it.
async function change(position, action, inverse) {
  const id = deck.ids[position];
  const entry = { id, action: inverse };
  if (inverse) undone.push(entry); // before it is answered, so that undo may follow at once
  find("undo").disabled = !undone.length;
  const { item, counts } = await server.act(id, action).catch((error) => {
    if (inverse) undone.splice(undone.indexOf(entry), 1);
    throw error;
  });
  problem(null);
  deck.update(item);
  count(counts);
  grid.refresh(position);
  if (deck.id === id) {
    viewer.label(item, deck.at, deck.size);
    tags.show(item);
  }
  return { item, counts };
}

const judge = (verdict) =>
  guarded(async () => {
    if (!deck.size) return;
    const position = deck.at;
    const item = await deck.item(position);
    const sent = change(position, { verdict }, { verdict: item.verdict });
    if (verdict && position + 1 < deck.size) go(position + 1);
    const { counts } = await sent;
    say(`${item.name} ${verdict ?? "open again"}, ${counts.open} left open`);
  });

function toggle(tag, present) {
  return guarded(async () => {
    const position = deck.at;
    const before = await deck.item(position);
    const inverse = before.untagged && !before.edited ? { tags: null } : { tag, present: !present };
    try {
      await change(position, { tag, present }, inverse);
      say(`${tag} ${present ? "added to" : "taken from"} ${before.name}`);
    } catch (error) {
      tags.show(before);
      throw error;
    }
  });
}

function setTags(names) {
  return guarded(async () => {
    const position = deck.at;
    const before = await deck.item(position);
    await change(position, { tags: names }, { tags: before.edited ? before.tags : null });
    say(names ? `tags of ${before.name} kept` : `tags of ${before.name} as in the data`);
  });
}

const undo = () =>
  guarded(async () => {
    const last = undone.pop();
    if (!last) return;
    let position = deck.ids.indexOf(last.id);
    if (position < 0) {
      position = deck.at;
      deck.ids.splice(position, 0, last.id); // it is no longer chosen, and shown all the same
      deck.forget();
      grid.clear();
    }
    deck.move(position);
    const { item } = await change(position, last.action, null);
    await show(true);
    say(`undone: ${item.name} is ${item.verdict ?? "open"}`);
  });

async function choose() {
  await deck.choose({ status: find("status").value, tag: find("tag").value, order: find("order").value });
  grid.clear();
  await show();
  say(`${deck.size} masks`);
}

const jump = () =>
  guarded(async () => {
    const text = find("jump").value.trim();
    if (!text) return;
    find("jump").blur(); // keys that come next are meant for the mask
    const number = /^\d+$/.test(text) ? Number(text) : 0;
    const id = await server.find(deck.query, text);
    const named = id === null ? -1 : deck.ids.indexOf(id);
    const exact = named >= 0 && (await deck.item(named)).name === text;
    const position = number >= 1 && number <= deck.size && !exact ? number - 1 : named;
    if (position < 0) throw new Error(`No mask like ${text} among those shown.`);
    find("jump").value = "";
    problem(null);
    await go(position);
  });

function open(position) {
  deck.move(position);
  return turn(false);
}

async function turn(on = !gridded()) {
  find("grid").hidden = !on;
  document.body.classList.toggle("gridded", on);
  find("gridded").setAttribute("aria-pressed", String(on));
  if (!on) find("stage").focus({ preventScroll: true });
  await guarded(() => show(true));
}

function layer(value = LAYERS[(LAYERS.indexOf(viewer.layer) + 1) % LAYERS.length]) {
  viewer.layer = value;
  document.querySelector(`input[name=layer][value=${value}]`).checked = true;
  guarded(() => show());
}

function depth(on) {
  if (find("depth").disabled) return;
  viewer.depth = find("depth").checked = on;
  guarded(() => show());
}

// Keys that come next are meant for the tags, so nothing is waited for.
function editTags() {
  if (gridded()) turn(false);
  tags.focus();
}

// The button at its end has the focus, which may have scrolled the beginning out of sight.
function help() {
  find("help").showModal();
  find("help").scrollTop = 0;
}

const focus = (id) => () => find(id).focus();
const step = (single, many) => () => go(deck.at + (gridded() ? many() : single));
const ACTIONS = {
  a: () => judge("accepted"), r: () => judge("rejected"), o: () => judge(null), u: undo,
  j: () => go(deck.at + 1), ArrowRight: () => go(deck.at + 1),
  k: () => go(deck.at - 1), ArrowLeft: () => go(deck.at - 1),
  ArrowDown: step(1, () => grid.columns), ArrowUp: step(-1, () => -grid.columns),
  Home: () => go(0), End: () => go(deck.size - 1),
  t: editTags, m: () => layer(), d: () => depth(!viewer.depth),
  "+": () => viewer.fade(5), "=": () => viewer.fade(5), "-": () => viewer.fade(-5),
  v: () => turn(), l: () => guarded(choose), g: focus("jump"), f: focus("status"), "?": help,
};

function connect() {
  listen(ACTIONS, tags);
  const clicks = {
    accept: ACTIONS.a, reject: ACTIONS.r, reopen: ACTIONS.o, undo, next: ACTIONS.j,
    previous: ACTIONS.k, again: ACTIONS.l, gridded: () => turn(), helping: ACTIONS["?"],
  };
  for (const [id, action] of Object.entries(clicks)) find(id).addEventListener("click", action);
  for (const id of ["status", "tag", "order"]) {
    find(id).addEventListener("change", () => guarded(choose));
  }
  find("jump").addEventListener("keydown", (event) => event.key === "Enter" && jump());
  find("depth").addEventListener("change", (event) => depth(event.target.checked));
  for (const radio of document.querySelectorAll("input[name=layer]")) {
    radio.addEventListener("change", () => layer(radio.value));
  }
  window.addEventListener("focus", () => guarded(refresh)); // another tab may have decided things
}

async function refresh() {
  count((await server.session()).counts);
  deck.forget();
  await show();
}

guarded(async () => {
  history.replaceState(null, "", "/"); // the token is in a cookie now
  connect();
  const facts = await server.session();
  tags.setup(facts.classes, facts.colours);
  count(facts.counts);
  find("file").textContent = facts.file;
  document.title = `Review ${facts.folder}`;
  if (!facts.confidence) {
    find("order").value = "name";
    find("order").options[0].disabled = true;
    find("order").title = "labels.json says no confidence of these masks";
  }
  await choose();
});
