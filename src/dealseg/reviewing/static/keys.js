// Which key does what. Fields for text keep their letters.

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
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || action(event) === false) return;
    event.preventDefault();
  });
}
