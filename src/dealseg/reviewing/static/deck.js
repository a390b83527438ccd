// The masks that a query chose, in its order, and what is known of them.

import * as server from "./server.js";

const PAGE = 100;

export class Deck {
  ids = [];
  at = 0;
  query = { status: "all", tag: "", order: "uncertain" };
  #items = new Map();
  #pages = new Map();

  get size() {
    return this.ids.length;
  }

  get id() {
    return this.ids[this.at];
  }

  async choose(query) {
    const stay = this.id;
    this.ids = await server.order(query);
    this.query = query;
    this.forget();
    this.at = Math.max(0, this.ids.indexOf(stay));
  }

  forget() {
    this.#items.clear();
    this.#pages.clear();
  }

  known(position) {
    return this.#items.get(this.ids[position]);
  }

  // The item at a position, read with its neighbours if it is not known yet.
  async item(position) {
    const id = this.ids[position];
    if (!this.#items.has(id)) await this.#page(Math.floor(position / PAGE));
    return this.#items.get(id);
  }

  // Reads all items from one position to another that are not known yet.
  async load(first, end) {
    const pages = [];
    for (let page = Math.floor(first / PAGE); page * PAGE < end; page++) pages.push(this.#page(page));
    await Promise.all(pages);
  }

  update(item) {
    this.#items.set(item.id, item);
  }

  async refresh(position) {
    const [item] = await server.items([this.ids[position]]);
    this.update(item);
    return item;
  }

  move(position) {
    this.at = Math.min(Math.max(position, 0), Math.max(this.size - 1, 0));
  }

  #page(page) {
    const ids = this.ids.slice(page * PAGE, (page + 1) * PAGE);
    if (!ids.length) return Promise.resolve();
    if (!this.#pages.has(page)) {
      const read = server.items(ids).then((found) => found.forEach((item) => this.update(item)));
      read.catch(() => this.#pages.delete(page));
      this.#pages.set(page, read);
    }
    return this.#pages.get(page);
  }
}
