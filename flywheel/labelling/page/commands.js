// What the keys and buttons do. Commands of a round (submit, skip, ...) are in rounds.js, of reviewing in review.js.

import { MODES } from "./contrast.js";
import { askFor, askForClass, showHelp, showPeople } from "./dialogs.js";
import { language, setLanguage } from "./words.js";
import { IGNORE } from "./mask.js";

const ZOOM = 1.3;
const SIZES = [1, 2, 3, 4, 6, 8, 11, 15, 20, 27, 36, 48, 64, 90, 128, 180]; // px, of the brush

const size = (now, up) => (up ? SIZES.find((one) => one > now) : SIZES.findLast((one) => one < now)) ?? now;

// What changes the label; it waits while an answer or another image is on its way.
export const EDITING = new Set([
  "finish", "undo", "redo", "grab", "remove", "clear", "recolour", "accept_proposed", "apply", "apply_back",
  "caption_reset", "pick_class", "pick_index", "pick_unclear",
]);

// The commands of the page by name; each gets the app and what the key or button says.
export const COMMANDS = {
  click: (app) => app.choose("click"),
  brush: (app) => app.choose("brush"),
  eraser: (app) => app.choose("eraser"),
  polygon: (app) => app.choose("polygon"),
  box: (app) => app.choose("box"),

  async finish(app) {
    if (app.tool.finish?.()) return;
    await app.clickLine.settled();
    app.editor?.finish();
  },
  undo(app) {
    if (app.tool.corners?.length || app.tool.drawing) return app.tool.cancel();
    if (!app.clickLine.drop()) app.editor?.undo();
  },
  redo(app) {
    if (app.tool.drawing) return;
    app.clickLine.drop(); // its answer would take the place of what comes back
    app.editor?.redo();
  },
  escape(app) {
    if (!app.tool.cancel?.()) app.hideBanner();
    app.focusStage();
  },
  grab: (app) => app.atCursor((editor, row, column) => editor.grab(row, column)),
  remove: (app) => app.atCursor((editor, row, column) => editor.remove(row, column)),
  clear(app) {
    if (!app.editor || app.editor.isClean) return;
    app.clickLine.drop();
    app.editor.clear();
    app.toast("cleared");
  },

  async pick_class(app, number) {
    if (number === 0) return COMMANDS.pick_unclear(app);
    if (number <= app.classes.length) await app.chooseClass(number);
  },
  pick_index: (app, index) => app.chooseClass(index),
  pick_unclear: (app) => app.chooseClass(IGNORE),
  recolour(app, number) {
    const klass = number === 0 ? IGNORE : number;
    if (number > app.classes.length) return;
    app.atCursor((editor, row, column) => editor.recolour(row, column, klass));
  },
  accept_proposed: (app) => app.proposed?.length && app.chooseClass(app.proposed[0].index),
  async find_class(app) {
    const found = await askForClass(app.classes);
    if (found) await app.chooseClass(found);
  },
  async add_class(app) {
    if (!app.me.reviews) return;
    const name = await askFor("class_title", "class_words", { lines: 1, action: "add" });
    if (name) app.setClasses(await app.api.post("classes", { name }));
    const added = name && app.classes.find((klass) => klass.name.toLowerCase() === name.toLowerCase());
    if (added) await app.chooseClass(added.index);
  },

  smaller: (app) => app.set({ brush: size(app.settings.brush, false) }),
  larger: (app) => app.set({ brush: size(app.settings.brush, true) }),
  fit: (app) => app.viewport.fit(),
  fill: (app) => app.viewport.fill(app.onScreen()),
  zoom_in: (app) => app.viewport.zoomBy(ZOOM, app.onScreen()),
  zoom_out: (app) => app.viewport.zoomBy(1 / ZOOM, app.onScreen()),
  page_on: (app) => app.viewport.turnPage(true),
  page_back: (app) => app.viewport.turnPage(false),
  toggle_mask: (app) => app.set({ hidden: !app.settings.hidden }),
  more_opaque: (app) => app.set({ opacity: Math.min(1, app.settings.opacity + 0.1) }),
  less_opaque: (app) => app.set({ opacity: Math.max(0, app.settings.opacity - 0.1) }),
  change_contrast: (app, mode) =>
    app.set({ contrast: mode ?? MODES[(MODES.indexOf(app.settings.contrast) + 1) % MODES.length] }),
  toggle_live: (app) => app.set({ live: !app.settings.live }),

  apply: (app) => app.editor && app.cursor.point && app.tool.enter?.(app.cursor.point),
  apply_back: (app) => app.editor && app.cursor.point && app.tool.back?.(app.cursor.point),
  edit_caption() {
    const caption = document.getElementById("caption");
    caption.focus();
    caption.select();
  },
  caption_reset: (app) => app.resetCaption(),
  help: () => showHelp(),
  async people(app) {
    showPeople(await app.api.get("people"));
  },
  language(app) {
    setLanguage(language() === "en" ? "zh" : "en");
    app.set({ language: language() });
    app.signals.tell("language");
  },
  async sign_out(app) {
    await app.autosave.flush();
    await app.api.delete("session");
    location.reload();
  },

  submit: (app) => (app.reviewing ? app.review.judge("accept") : app.rounds.submit()),
  clean: (app) => !app.reviewing && app.rounds.submitClean(),
  skip: (app) => (app.reviewing ? app.review.pass() : app.rounds.skip()),
  async flag(app) {
    if (!app.image || app.reviewing) return;
    const comment = await askFor("flag_title", "flag_words", { lines: 3, action: "flag" });
    if (comment) await app.rounds.submit({ flagged: true, comment });
  },
  previous: (app) => !app.reviewing && app.rounds.go(-1),
  next: (app) => (app.reviewing ? app.review.pass() : app.rounds.go(1)),
  review: (app) => (app.reviewing ? app.review.leave() : app.review.enter()),
  accept: (app) => app.review.judge("accept"),
  reject: (app) => app.review.judge("reject"),
  leave_out: (app) => app.review.judge("leave_out"),
  toggle_other: (app) => app.review.toggleOther(),
};
