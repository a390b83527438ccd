// The classes with their colours: which are tags of the image, and how much of the mask they fill.

const find = (id) => document.getElementById(id);
const MANY = 20;

export class Tags {
  #classes = [];
  #colours = [];
  #boxes = new Map();
  #item = null;
  #shares = new Map();

  constructor(toggle, set) {
    this.toggle = toggle;
    find("narrow").addEventListener("input", () => this.#narrow());
    find("narrow").addEventListener("keydown", (event) => this.#inNarrow(event));
    find("keep").addEventListener("click", () => set(this.ticked()));
    find("restore").addEventListener("click", () => set(null));
  }

  setup(classes, colours) {
    this.#classes = classes;
    this.#colours = colours;
    find("narrow").hidden = classes.length <= MANY;
    for (const name of classes) find("tag").append(new Option(name, name));
  }

  // Shows an item; what is in its mask comes later, with `fill`.
  show(item) {
    const fresh = this.#item?.id !== item.id;
    if (fresh) this.#shares = new Map();
    this.#item = item;
    if (fresh) this.#list();
    this.#tick();
  }

  fill(facts) {
    this.#shares = new Map(facts.shares);
    const focused = find("tags").contains(document.activeElement);
    if (!focused && this.#classes.length > MANY) this.#list();
    this.#tick();
  }

  ticked() {
    return this.#classes.filter((name) => this.#boxes.get(name).checked);
  }

  focus() {
    const first = find("narrow").hidden ? find("classes").querySelector("input") : find("narrow");
    first?.focus();
  }

  // Moves between the boxes with the arrows, or toggles the one with a number.
  key(event) {
    const boxes = [...find("classes").querySelectorAll("li:not([hidden]) input")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      const at = boxes.indexOf(document.activeElement);
      boxes[(at + step + boxes.length) % boxes.length]?.focus();
      return true;
    }
    if (/^[1-9]$/.test(event.key) && event.target.id !== "narrow") {
      boxes[Number(event.key) - 1]?.click();
      return true;
    }
    return false;
  }

  // With many classes those in use come first; the order stays while an image is shown.
  #list() {
    const used = (name) =>
      Boolean(this.#item.tags?.includes(name)) || this.#shares.has(this.#classes.indexOf(name) + 1);
    const many = this.#classes.length > MANY;
    const names = many ? [...this.#classes].sort((a, b) => used(b) - used(a)) : this.#classes;
    this.#boxes.clear();
    find("narrow").value = "";
    find("classes").replaceChildren(...names.map((name, place) => this.#entry(name, place)));
  }

  #entry(name, place) {
    const entry = document.createElement("li");
    const label = document.createElement("label");
    const box = document.createElement("input");
    const chip = document.createElement("i");
    const text = document.createElement("span");
    const share = document.createElement("small");
    box.type = "checkbox";
    box.addEventListener("change", () => this.toggle(name, box.checked));
    chip.className = "chip";
    chip.style.backgroundColor = `rgb(${this.#colours[this.#classes.indexOf(name)].join()})`;
    text.textContent = name;
    label.append(box, chip, text, share);
    if (place < 9) {
      const key = document.createElement("kbd");
      key.textContent = place + 1;
      key.setAttribute("aria-hidden", "true");
      label.append(key);
    }
    entry.append(label);
    this.#boxes.set(name, box);
    return entry;
  }

  #tick() {
    const item = this.#item;
    this.#classes.forEach((name, k) => {
      const share = this.#shares.get(k + 1);
      const box = this.#boxes.get(name);
      box.checked = item.tags ? item.tags.includes(name) : share !== undefined;
      const told = box.parentElement.querySelector("small");
      told.textContent = share === undefined ? "" : percent(share);
      told.title = "of the mask's pixels";
      if (this.#shares.size && share === undefined && item.tags?.includes(name)) {
        told.textContent = "not in the mask";
      }
    });
    const ignored = this.#shares.get(255);
    const rest = this.#shares.size ? [`background ${percent(this.#shares.get(0) ?? 0)}`] : [];
    if (ignored) rest.push(`ignored ${percent(ignored)}`);
    find("rest").textContent = rest.join(", ");
    const unsaid = item.untagged && !item.edited;
    find("origin").textContent = unsaid
      ? "The data has no tags here; ticked is what is in the mask."
      : item.edited ? "Edited" : "";
    find("keep").hidden = !unsaid;
    find("restore").hidden = !item.edited;
  }

  #narrow() {
    const text = find("narrow").value.trim().toLowerCase();
    for (const [name, box] of this.#boxes) {
      box.closest("li").hidden = !name.toLowerCase().includes(text);
    }
  }

  #inNarrow(event) {
    if (event.key !== "Enter") return;
    event.preventDefault();
    find("classes").querySelector("li:not([hidden]) input")?.click();
    find("narrow").select();
  }
}

function percent(share) {
  if (share > 0 && share < 0.01) return "< 1 %";
  return `${Math.round(100 * share)} %`;
}
