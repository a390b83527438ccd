// One mask over its image.

import * as server from "./server.js";

const find = (id) => document.getElementById(id);
const AHEAD = 3;

export class Viewer {
  layer = "filled";
  depth = false;
  #turn = 0;
  #missing = "";
  #trouble = "";
  #pictures = new Map();

  constructor() {
    find("opacity").addEventListener("input", () => this.fade(0));
    this.fade(0);
  }

  // Shows an item; pictures that come late for one that was left are not shown.
  async show(item, position, size) {
    const turn = ++this.#turn;
    this.#missing = this.#trouble = "";
    this.label(item, position, size);
    find("stage").classList.add("waiting");
    const kinds = [this.depth ? "depth" : "image", this.layer];
    const [photo, layer] = await Promise.all(kinds.map((kind) => this.#loaded(item, kind)));
    if (turn !== this.#turn) return;
    find("stage").classList.remove("waiting");
    this.#missing = photo ? "" : this.depth ? "This image has no depth." : "The image cannot be read.";
    this.#place("photo", photo, `Image ${item.name}`);
    this.#place("layer", layer, "");
    find("layer").classList.toggle("line", this.layer === "outlined");
    this.fade(0);
    this.complain();
  }

  // Says what is wrong with the mask or its picture; what was said of the mask says more.
  complain(trouble = this.#trouble) {
    this.#trouble = trouble;
    find("broken").textContent = trouble || this.#missing;
    find("broken").hidden = !find("broken").textContent;
  }

  label(item, position, size) {
    find("name").textContent = item.name;
    find("place").textContent = `${(position + 1).toLocaleString("en")} of ${size.toLocaleString("en")}`;
    find("verdict").textContent = item.verdict ?? "open";
    find("verdict").dataset.verdict = item.verdict ?? "open";
    find("sure").textContent =
      item.confidence === null ? "" : `confidence ${item.confidence.toFixed(2)}`;
    find("reopen").disabled = !item.verdict;
    for (const [button, verdict] of [["accept", "accepted"], ["reject", "rejected"]]) {
      find(button).setAttribute("aria-pressed", String(item.verdict === verdict));
    }
  }

  // Fetches what is likely to be shown next.
  preload(items) {
    for (const item of items.slice(0, AHEAD)) {
      this.#loaded(item, this.depth ? "depth" : "image");
      this.#loaded(item, this.layer);
    }
  }

  fade(step) {
    const opacity = find("opacity");
    opacity.value = Number(opacity.value) + step;
    find("layer").style.opacity = this.layer === "outlined" ? 1 : opacity.value / 100;
  }

  #place(id, picture, alt) {
    find(id).hidden = !picture;
    if (!picture) return;
    find(id).src = picture.src;
    find(id).alt = alt;
  }

  // A picture that is ready to be painted, or null if there is none.
  #loaded(item, kind) {
    if (kind === "none") return Promise.resolve(null);
    const address = server.picture(item, kind);
    if (!this.#pictures.has(address)) {
      const picture = new Image();
      picture.src = address;
      this.#pictures.set(address, picture.decode().then(() => picture, () => null));
      if (this.#pictures.size > 24) this.#pictures.delete(this.#pictures.keys().next().value);
    }
    return this.#pictures.get(address);
  }
}
