// Which key does what. Fields for text keep their letters.
// A key that is held down goes on through the masks, but decides nothing that nobody has seen.

const MOVES = ["ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp", "j", "k", "+", "=", "-"];
const TEXT = "input[type=search], input[type=text], select, textarea";

export function listen(actions, tags) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector("dialog[open]")) return;
    const { target } = event;
    if (event.key === "Escape") {
      target.blur?.();
      return;
    }
    if (target.closest?.("#tags") && tags.key(event)) {
      event.preventDefault();
      return;
    }
    if (target.matches?.(TEXT)) return;
    if (target.type === "range" && event.key.startsWith("Arrow")) return;
    if (target.type === "radio" && event.key.startsWith("Arrow")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!actions[key]) return;
    event.preventDefault();
    if (!event.repeat || MOVES.includes(key)) actions[key]();
  });
}
