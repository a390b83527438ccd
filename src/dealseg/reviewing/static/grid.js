// Thumbnails of all chosen masks, of which only those in sight are in the page.

import * as server from "./server.js";

const CELL = 168;
const ROW = 178;
const find = (id) => document.getElementById(id);

export class Grid {
  #cells = new Map();
  #columns = 1;
  #asked = 0;

  constructor(deck, open, chosen) {
    this.deck = deck;
    this.open = open;
    this.chosen = chosen;
    const draw = () => this.draw();
    find("grid").addEventListener("scroll", draw, { passive: true });
    new ResizeObserver(draw).observe(find("grid"));
  }

  get columns() {
    return this.#columns;
  }

  clear() {
    for (const position of [...this.#cells.keys()]) this.#drop(position);
  }

  draw() {
    const box = find("grid");
    if (box.hidden || !box.clientWidth) return;
    const columns = Math.max(2, Math.floor(box.clientWidth / CELL));
    if (columns !== this.#columns) this.clear();
    this.#columns = columns;
    find("cells").style.height = `${Math.ceil(this.deck.size / columns) * ROW}px`;
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - 2) * columns;
    const rows = Math.ceil(box.clientHeight / ROW) + 5;
    const end = Math.min(this.deck.size, first + rows * columns);
    for (const position of [...this.#cells.keys()]) {
      if (position < first || position >= end) this.#drop(position);
    }
    for (let position = first; position < end; position++) {
      if (!this.#cells.has(position)) this.#add(position, box.clientWidth / columns);
    }
    this.#fill(first, end);
  }

  // Brings the chosen cell into sight and marks it.
  follow(focus = true) {
    const box = find("grid");
    const top = Math.floor(this.deck.at / this.#columns) * ROW;
    if (top < box.scrollTop) box.scrollTop = top;
    if (top + ROW > box.scrollTop + box.clientHeight) box.scrollTop = top + ROW - box.clientHeight;
    this.draw();
    for (const [position, cell] of this.#cells) this.#mark(position, cell);
    if (focus) this.#cells.get(this.deck.at)?.firstChild.focus({ preventScroll: true });
  }

  refresh(position) {
    const cell = this.#cells.get(position);
    const item = this.deck.known(position);
    if (!cell || !item) return;
    const [button] = cell.children;
    const [photo, name] = button.children;
    const address = server.picture(item, "thumbnail");
    if (photo.getAttribute("src") !== address) photo.src = address;
    name.textContent = item.name;
    button.title = item.name;
    button.dataset.verdict = item.verdict ?? "open";
    button.setAttribute("aria-label", `${item.name}, ${item.verdict ?? "open"}`);
  }

  // Waits until scrolling rests, so that what flies by is not asked for.
  #fill(first, end) {
    clearTimeout(this.#asked);
    const fill = async () => {
      await this.deck.load(first, end);
      for (const position of this.#cells.keys()) this.refresh(position);
    };
    this.#asked = setTimeout(() => fill().catch(() => {}), 60);
  }

  #add(position, width) {
    const cell = document.createElement("li");
    const button = document.createElement("button");
    const photo = document.createElement("img");
    const name = document.createElement("span");
    photo.alt = "";
    button.append(photo, name);
    button.type = "button";
    button.addEventListener("click", () => this.open(position));
    button.addEventListener("focus", () => this.chosen(position));
    cell.append(button);
    cell.style.width = `${width}px`;
    cell.style.transform =
      `translate(${(position % this.#columns) * width}px, ` +
      `${Math.floor(position / this.#columns) * ROW}px)`;
    cell.setAttribute("aria-setsize", this.deck.size);
    cell.setAttribute("aria-posinset", position + 1);
    this.#mark(position, cell);
    this.#cells.set(position, cell);
    find("cells").append(cell);
    this.refresh(position);
  }

  #mark(position, cell) {
    const here = position === this.deck.at;
    cell.firstChild.tabIndex = here ? 0 : -1;
    if (here) cell.firstChild.setAttribute("aria-current", "true");
    else cell.firstChild.removeAttribute("aria-current");
  }

  #drop(position) {
    const cell = this.#cells.get(position);
    cell.querySelector("img").removeAttribute("src"); // what was not fetched yet is not fetched
    cell.remove();
    this.#cells.delete(position);
  }
}
