// Which key runs which command; the help is made from this table too.
//
// Letters are named by what is on the key where the layout is Latin, else by the key's place, so that they also work
// under a Chinese input method. Symbols are named by what they print.

export const KEYS = [
  ["click", "W", "group_click", "tool_click"],
  ["finish", "N", "group_click"],
  ["grab", "G", "group_click"],
  ["remove", "X", "group_click"],
  ["remove", "Delete"],
  ["clear", "Shift+X", "group_click"],
  ["clear", "Shift+Delete"],
  ["undo", "Z", "group_click"],
  ["undo", "Ctrl+Z"],
  ["redo", "Shift+Z", "group_click"],
  ["redo", "Y"],
  ["redo", "Ctrl+Shift+Z"],
  ["redo", "Ctrl+Y"],
  ["escape", "Escape", "group_click"],
  ["brush", "B", "group_draw", "tool_brush"],
  ["eraser", "E", "group_draw", "tool_eraser"],
  ["polygon", "P", "group_draw", "tool_polygon"],
  ["box", "R", "group_draw", "tool_box"],
  ["smaller", "[", "group_draw"],
  ["larger", "]", "group_draw"],
  ["pick_class", "1 … 9", "group_class"],
  ["recolour", "Shift+1 … 9", "group_class"],
  ["pick_unclear", "0", "group_class"],
  ["accept_proposed", "A", "group_class"],
  ["find_class", "/", "group_class"],
  ["add_class", "Shift+C", "group_class"],
  ["fit", "F", "group_view"],
  ["fill", "Shift+F", "group_view"],
  ["zoom_in", "+", "group_view"],
  ["zoom_in", "="],
  ["zoom_out", "-", "group_view"],
  ["page_on", "PageDown", "group_view"],
  ["page_back", "PageUp", "group_view"],
  ["toggle_mask", "H", "group_view"],
  ["more_opaque", "}", "group_view"],
  ["less_opaque", "{", "group_view"],
  ["change_contrast", "C", "group_view"],
  ["toggle_live", "L", "group_view"],
  ["submit", "S", "group_image"],
  ["submit", "Ctrl+Enter"],
  ["clean", "D", "group_image"],
  ["flag", "M", "group_image"],
  ["skip", "K", "group_image"],
  ["previous", ",", "group_image"],
  ["next", ".", "group_image"],
  ["edit_caption", "T", "group_image"],
  ["help", "?", "group_image"],
  ["move", "Arrows", "group_keyboard"],
  ["move_pixel", "Shift+Arrows", "group_keyboard"],
  ["move_leap", "Ctrl+Arrows", "group_keyboard"],
  ["apply", "Enter", "group_keyboard"],
  ["apply_back", "Backspace", "group_keyboard"],
  ["review", "V", "group_review"],
  ["accept", "A", "group_review"],
  ["reject", "X", "group_review"],
  ["leave_out", "Q", "group_review"],
  ["toggle_other", "O", "group_review"],
].map(([command, key, group = null, words = command]) => ({ command, key, group, words }));

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// The key of a command as people read it; the first in the table.
export const keyOf = (command) => KEYS.find((entry) => entry.command === command)?.key ?? "";

const SYMBOLS = new Set(KEYS.map(({ key }) => key).filter((key) => /^[^A-Z0-9]$/.test(key)));

function baseName(event) {
  if (SYMBOLS.has(event.key)) return event.key;
  const digit = /^(?:Digit|Numpad)([0-9])$/.exec(event.code)?.[1];
  if (digit) return digit;
  if (/^[a-z]$/i.test(event.key)) return event.key.toUpperCase();
  const latin = event.key.length === 1 && event.key.charCodeAt(0) < 128;
  return (!latin && /^Key([A-Z])$/.exec(event.code)?.[1]) || event.key;
}

export function keyName(event) {
  const altGraph = event.getModifierState("AltGraph"), name = baseName(event);
  const control = (event.ctrlKey || event.metaKey) && !altGraph ? "Ctrl+" : "";
  const alt = event.altKey && !altGraph ? "Alt+" : "";
  return control + alt + (event.shiftKey && !SYMBOLS.has(name) ? "Shift+" : "") + name;
}

export class Keyboard {
  constructor(app) {
    this.app = app;
    this.table = new Map();
    for (const { command, key, group } of KEYS) {
      if (!this.table.has(key)) this.table.set(key, []);
      this.table.get(key).push({ command, review: group === "group_review" });
    }
    addEventListener("keydown", (event) => this.#down(event));
    addEventListener("keyup", (event) => event.key === " " && app.pointer.holdSpace(false));
    addEventListener("blur", () => app.pointer.holdSpace(false));
  }

  #down(event) {
    if (event.isComposing) return;
    const { app } = this, name = keyName(event), at = event.target;
    if (document.querySelector("dialog[open]")) return;
    const inText = at.matches?.("textarea, input:not([type=range]):not([type=checkbox])");
    if (inText) {
      if (name === "Escape") app.focusStage();
      else if (name !== "Ctrl+Enter") return;
    } else if (at.matches?.("button, input, select") && (name === "Enter" || name === " " || event.key in ARROWS)) return;
    if (name === " " || name === "Shift+ ") {
      event.preventDefault();
      return app.pointer.holdSpace(true);
    }
    if (this.#run(name, event)) event.preventDefault();
  }

  #run(name, event) {
    const { app } = this, digit = /^(Shift\+)?([0-9])$/.exec(name);
    if (event.key in ARROWS && !event.altKey) {
      const how = event.ctrlKey || event.metaKey ? "leap" : event.shiftKey ? "pixel" : "step";
      app.moveCursor(...ARROWS[event.key], how);
      return true;
    }
    if (digit) {
      app.run(digit[1] ? "recolour" : "pick_class", Number(digit[2]));
      return true;
    }
    const found = this.table.get(name)?.filter((entry) => !entry.review || entry.command === "review" || app.reviewing);
    const entry = found?.find((one) => one.review) ?? found?.[0]; // while reviewing, the reviewer's meaning comes first
    if (!entry) return false;
    if (event.repeat && !REPEATED.has(entry.command)) return true;
    app.run(entry.command);
    return true;
  }
}

const REPEATED = new Set([
  "undo", "redo", "smaller", "larger", "zoom_in", "zoom_out", "page_on", "page_back", "more_opaque", "less_opaque",
]);
