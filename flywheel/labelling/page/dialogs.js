// Everything that asks or tells in the middle of the page.

import { KEYS } from "./keys.js";
import { className, explained, say } from "./words.js";

const dialog = document.getElementById("dialog");
// What is typed here is not for the page, also when the key closed the dialog.
dialog.addEventListener("keydown", (event) => event.stopPropagation());

// An element with properties and children; strings become text.
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

// Show `content`; resolves to what its form returned, or "" when it was left.
function open(content, { closable = true } = {}) {
  dialog.replaceChildren(content);
  dialog.returnValue = "";
  dialog.oncancel = (event) => {
    if (!closable) event.preventDefault();
  };
  dialog.onclick = (event) => {
    if (closable && event.target === dialog) dialog.close();
  };
  dialog.showModal();
  return new Promise((done) => (dialog.onclose = () => done(dialog.returnValue)));
}

const buttons = (action) => element("p", { className: "buttons" },
  element("button", { type: "button", textContent: say("cancel"), onclick: () => dialog.close() }),
  element("button", { type: "submit", className: "primary", textContent: say(action) }));

// Ask for a text; resolves to it, or to "" when there is none.
export function askFor(title, words, { lines, action }) {
  const field = lines > 1
    ? element("textarea", { rows: lines, maxLength: 2000, required: true })
    : element("input", { maxLength: 40, required: true });
  field.setAttribute("aria-label", say(title));
  const form = element("form", { method: "dialog" },
    element("h2", { textContent: say(title) }), element("p", { textContent: say(words) }), field, buttons(action));
  form.onsubmit = () => dialog.close(field.value.trim());
  field.onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  };
  const answer = open(form);
  field.focus();
  return answer;
}

export async function signIn({ needs_token: needsToken, suggested_name: suggested }, tell) {
  const field = element("input", {
    type: needsToken ? "password" : "text", value: needsToken ? "" : (suggested ?? ""), required: true,
    autocomplete: needsToken ? "current-password" : "name", maxLength: needsToken ? 500 : 40,
  });
  const label = say(needsToken ? "your_token" : "your_name");
  field.setAttribute("aria-label", label);
  const wrong = element("p", { className: "wrong", hidden: true });
  const form = element("form", { method: "dialog" },
    element("h2", { textContent: say("sign_in") }),
    element("p", { textContent: say(needsToken ? "token_words" : "name_words") }),
    element("label", {}, label, field), wrong,
    element("p", { className: "buttons" }, element("button", { className: "primary", textContent: say("sign_in") })));
  form.onsubmit = async (event) => {
    event.preventDefault();
    try {
      await tell(needsToken ? { token: field.value.trim() } : { name: field.value.trim() });
      dialog.close("in");
    } catch (error) {
      wrong.textContent = explained(error);
      wrong.hidden = false;
      field.select();
    }
  };
  const done = open(form, { closable: false });
  field.select();
  await done;
}

// A list of classes that typing narrows down; resolves to an index, or null.
export async function askForClass(classes) {
  const field = element("input", { type: "search" }), list = element("ol", { className: "found" });
  field.setAttribute("aria-label", say("find_title"));
  const form = element("form", { method: "dialog" }, element("h2", { textContent: say("find_title") }), field, list);
  const fill = () => {
    const wanted = field.value.trim().toLowerCase();
    const found = classes.filter((one) => `${one.index} ${one.name} ${one.name_zh}`.toLowerCase().includes(wanted));
    list.replaceChildren(...found.map((one) => {
      const swatch = element("i", { className: "swatch" });
      swatch.style.background = one.colour;
      const button = element("button", { type: "button", onclick: () => dialog.close(String(one.index)) }, swatch, className(one));
      return element("li", {}, button);
    }));
    form.onsubmit = () => dialog.close(found.length ? String(found[0].index) : "");
  };
  field.oninput = fill;
  fill();
  const answer = open(form);
  field.focus();
  return Number(await answer) || null;
}

const MOUSE = {
  group_click: [["key_left", "help_left"], ["key_right", "help_right"]],
  group_view: [["key_wheel", "help_wheel"], ["key_pan", "help_pan"]],
};

export function showHelp() {
  const groups = [...new Set(KEYS.map((entry) => entry.group).filter(Boolean))];
  const row = (key, words) => element("tr", {}, element("th", {}, element("kbd", { textContent: key })), element("td", { textContent: words }));
  const tables = groups.map((group) => {
    const mouse = (MOUSE[group] ?? []).map(([key, words]) => row(say(key), say(words)));
    const keys = KEYS.filter((entry) => entry.group === group).map((entry) => row(entry.key, say(entry.words)));
    return element("section", {}, element("h3", { textContent: say(group) }), element("table", {}, ...mouse, ...keys));
  });
  return open(element("div", { className: "help" },
    element("h2", { textContent: say("keys") }), element("div", { className: "columns" }, ...tables)));
}

const FIGURES = [
  ["person", "name"], ["labels", "labels"], ["mean_seconds", "seconds", 1], ["mean_clicks", "clicks", 1],
  ["mean_corrections", "corrections", 1], ["known", "known", 2], ["second", "second", 2], ["returned", "returned"],
  ["reviewed", "reviewed"],
];

export function showPeople(rows) {
  const head = FIGURES.map(([words]) => element("th", { textContent: say(words) }));
  const shown = (value, digits) => (value === null ? "–" : digits === undefined ? String(value) : value.toFixed(digits));
  const lines = rows.map((row) => element("tr", {},
    ...FIGURES.map(([, key, digits]) => element("td", { textContent: shown(row[key], digits) }))));
  return open(element("div", { className: "people" },
    element("h2", { textContent: say("people_title") }),
    element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...lines)),
    element("p", { className: "buttons" }, element("button", { textContent: say("close"), onclick: () => dialog.close() }))));
}
