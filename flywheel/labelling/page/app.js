// The page's state, and what holds its parts together: the open image, the chosen tool and class, the settings.

import { Api, freshId } from "./api.js";
import { Autosave } from "./autosave.js";
import { EMPTY } from "./box.js";
import { ClickLine } from "./clicks.js";
import { COMMANDS, EDITING } from "./commands.js";
import { Cursor } from "./cursor.js";
import { Editor } from "./editor.js";
import { IGNORE } from "./mask.js";
import { Overlay } from "./overlay.js";
import { Picture } from "./picture.js";
import { Review } from "./review.js";
import { Rounds } from "./rounds.js";
import { fromRuns, toRuns } from "./runs.js";
import { Signals } from "./signal.js";
import { Timer } from "./timer.js";
import { BrushTool } from "./tool_brush.js";
import { ClickTool } from "./tool_click.js";
import { BoxTool, PolygonTool } from "./tool_shape.js";
import { Viewport } from "./viewport.js";
import { element } from "./dialogs.js";
import { explained, say } from "./words.js";

const SETTINGS = "flywheel.settings";
const DEFAULTS = { brush: 8, opacity: 0.4, contrast: "plain", live: true, hidden: false, language: "" };
const TOAST = 4000; // ms

export class App {
  me = null; // {name, reviews}
  about = null; // what the server said at first
  classes = [];
  klass = 0; // index of the chosen class
  image = null; // the open sheet
  editor = null;
  picture = null;
  overlay = null;
  reviewing = false;
  busy = false;
  caption = "";
  proposedCaption = ""; // what the mask suggests
  captionTouched = false; // since the image was opened
  captionEdited = false;
  proposed = []; // classes that the live region looks like: {index, share}

  constructor() {
    this.signals = new Signals();
    this.api = new Api(() => location.reload());
    this.settings = { ...DEFAULTS, ...JSON.parse(localStorage.getItem(SETTINGS) ?? "{}"), hidden: false };
    this.viewport = new Viewport(this.signals);
    this.cursor = new Cursor(this);
    this.clickLine = new ClickLine(this);
    this.timer = new Timer(this.signals);
    this.autosave = new Autosave(this);
    this.rounds = new Rounds(this);
    this.review = new Review(this);
    this.tools = {
      click: new ClickTool(this),
      brush: new BrushTool(this, "brush"),
      eraser: new BrushTool(this, "eraser"),
      polygon: new PolygonTool(this, "polygon"),
      box: new BoxTool(this, "box"),
    };
    this.tool = this.tools.click;
    this.signals.on("caption", (proposed) => this.#propose(proposed));
  }

  run(command, value) {
    const done = (error) => this.failed(error);
    if (this.busy && EDITING.has(command)) return Promise.resolve();
    try {
      return Promise.resolve(COMMANDS[command](this, value)).catch(done);
    } catch (error) {
      done(error);
    }
  }

  set(changes) {
    Object.assign(this.settings, changes);
    localStorage.setItem(SETTINGS, JSON.stringify(this.settings));
    if ("contrast" in changes) this.picture?.show(this.settings.contrast);
    if ("opacity" in changes && this.overlay) {
      this.overlay.opacity = this.settings.opacity;
      this.#redraw();
    }
    this.signals.tell("settings");
    this.signals.tell("draw");
  }

  choose(name) {
    this.tool.cancel?.();
    if (name !== "click") this.clickLine.drop();
    this.tool = this.tools[name];
    this.signals.tell("tool");
    this.signals.tell("draw");
  }

  setClasses(classes) {
    this.classes = classes;
    if (!this.klass && classes.length) this.klass = 1;
    this.overlay?.setClasses(classes);
    this.signals.tell("classes");
  }

  // Choose the class for what comes; a live region takes it too.
  async chooseClass(index) {
    this.klass = index;
    await this.clickLine.settled();
    this.editor?.recolourLive(index);
    this.signals.tell("class");
    this.signals.tell("draw");
  }

  colour() {
    return this.klass === IGNORE ? "#969696" : (this.classes.find(({ index }) => index === this.klass)?.colour ?? "#ffffff");
  }

  // Open an image: the browser's copy, the draft, the label or nothing, and then perhaps the champion's first mask.
  async open(sheet) {
    this.close();
    this.image = sheet;
    const copy = this.reviewing ? null : this.autosave.begin(sheet);
    const from = copy ? { ...copy.answer, caption_edited: copy.caption_edited } : (sheet.draft ?? sheet.label);
    this.setClasses(sheet.classes);
    this.picture = await Picture.load(sheet.sample);
    if (this.image !== sheet) return; // left meanwhile
    this.picture.show(this.settings.contrast);
    const pixels = from ? this.#recoded(fromRuns(from.runs, sheet.height * sheet.width), copy?.answer.classes) : undefined;
    this.overlay = new Overlay(sheet.height, sheet.width);
    this.overlay.opacity = this.settings.opacity;
    this.overlay.setClasses(this.classes);
    this.editor = new Editor(sheet.height, sheet.width, pixels, (box) => this.#changed(box));
    this.editor.clicks = this.reviewing ? 0 : (from?.clicks ?? 0);
    this.editor.corrections = this.reviewing ? 0 : (from?.corrections ?? 0);
    this.timer.start(this.reviewing ? 0 : (from?.seconds ?? 0));
    const unsent = (copy ?? sheet.draft) && from?.uid && from.uid !== sheet.label?.uid; // what was sent keeps its id
    this.uid = unsent ? from.uid : freshId();
    this.startedFrom = from?.started_from ?? "";
    this.captionEdited = Boolean(copy?.caption_edited ?? sheet.draft?.caption_edited ?? (sheet.label && from?.caption));
    this.captionTouched = false;
    this.proposedCaption = from?.proposed_caption ?? sheet.clean_caption;
    this.caption = this.captionEdited ? from.caption : this.proposedCaption;
    this.proposed = [];
    this.viewport.setImage(sheet.width, sheet.height);
    this.cursor.centre();
    this.#redraw();
    this.hideCard();
    if (sheet.sent_back) this.showBanner(say("sent_back", sheet.sent_back.by, sheet.sent_back.reason));
    this.signals.tell("image");
    this.focusStage();
    if (copy) this.autosave.touch({ always: true });
    if (!from) this.#firstMask(sheet);
  }

  async #firstMask(sheet) {
    const first = await this.api.get(`samples/${sheet.sample}/first-mask`).catch(() => null);
    if (!first?.runs.length || this.image !== sheet || this.editor.touched || this.clickLine.busy) return;
    this.startedFrom = first.by;
    const pixels = fromRuns(first.runs, sheet.height * sheet.width);
    if (!pixels.some((value) => value)) return;
    this.editor.replace(pixels);
    this.toast("first_mask", first.by);
  }

  // Indices of a copy from an earlier class table in today's; classes only ever get added, so names are looked up.
  #recoded(pixels, names) {
    if (!names || names.every((name, at) => this.classes[at]?.name === name)) return pixels;
    const table = new Uint8Array(256);
    table[IGNORE] = IGNORE;
    names.forEach((name, at) => (table[at + 1] = this.classes.find((klass) => klass.name === name)?.index ?? 0));
    return pixels.map((value) => table[value]);
  }

  // Finish what is in the making and save it; then nothing changes the image while `work` leaves it.
  async leaving(work) {
    this.tool.lift?.();
    while (this.clickLine.busy) await this.clickLine.settled();
    this.setBusy(true);
    try {
      await this.autosave.flush();
      await work();
    } finally {
      this.setBusy(false);
    }
  }

  close() {
    this.autosave.leave();
    this.clickLine.drop();
    this.tool.cancel?.();
    this.image = this.editor = this.picture = this.overlay = null;
    this.proposed = [];
    this.hideBanner();
    this.signals.tell("image");
    this.signals.tell("draw");
  }

  // The person's answer as the server takes it.
  answer() {
    const { editor } = this;
    return {
      uid: this.uid, runs: toRuns(editor.composite().pixels), classes: this.classes.map(({ name }) => name),
      caption: this.captionEdited ? this.caption : "", comment: "", flagged: false, ...editor.cost(),
      seconds: Math.round(10 * this.timer.seconds) / 10, started_from: this.startedFrom,
    };
  }

  #changed(box) {
    this.overlay.update(this.editor, box ?? EMPTY);
    this.proposed = this.#named(this.editor.live?.proposed);
    this.autosave.touch();
    this.signals.tell("changed");
    this.signals.tell("proposed");
    this.signals.tell("draw", box ?? EMPTY);
  }

  #named(proposed = []) {
    const named = proposed.map(([name, share]) => ({ index: this.classes.find((one) => one.name === name)?.index, share }));
    return named.filter(({ index }) => index);
  }

  #redraw() {
    if (!this.editor) return;
    const { height, width } = this.editor.mask;
    this.overlay.context.clearRect(0, 0, width, height);
    this.overlay.update(this.editor, { top: 0, left: 0, height, width });
    this.signals.tell("draw");
  }

  #propose(proposed) {
    this.proposedCaption = proposed;
    if (!this.captionEdited) this.caption = proposed;
    this.signals.tell("captioned");
  }

  editCaption(text) {
    this.caption = text;
    this.captionEdited = this.captionTouched = true;
    this.autosave.touch();
    this.signals.tell("captioned");
  }

  resetCaption() {
    this.captionEdited = false;
    this.captionTouched = true;
    this.caption = this.proposedCaption;
    this.autosave.touch();
    this.signals.tell("captioned");
  }

  // The cursor for commands that refer to a place; in screen px for zooming.
  atCursor(work) {
    const { row, column } = this.cursor;
    if (!this.editor?.mask.has(row, column)) return;
    this.clickLine.drop();
    if (!work(this.editor, row, column)) this.toast("nothing_here");
  }

  onScreen() {
    return this.cursor.inside && this.cursor.point ? this.viewport.toScreen(this.cursor.point) : undefined;
  }

  moveCursor(dx, dy, how) {
    if (this.editor) this.cursor.moveBy(dx, dy, how);
  }

  focusStage() {
    document.getElementById("view").focus({ preventScroll: true });
  }

  setBusy(busy) {
    this.busy = busy;
    this.signals.tell("busy");
  }

  async refresh() {
    const progress = await this.api.get("progress").catch(() => null);
    if (progress) this.signals.tell("progress", progress);
  }

  // Short messages, errors, and what stands in the image's place.
  toast(key, ...values) {
    this.#toast(say(key, ...values), "");
  }

  #toast(words, kind) {
    const toast = element("p", { textContent: words, className: kind }), place = document.getElementById("toasts");
    place.replaceChildren(toast);
    setTimeout(() => toast.remove(), TOAST);
  }

  failed(error) {
    if (error.status === 401) return;
    if (error.code === "conflict") this.showBanner(say("lost", explained(error)));
    else if (error.code === "offline") this.#toast(say("offline"), "wrong");
    else {
      console.warn(error);
      this.#toast(say("failed", explained(error)), "wrong");
    }
  }

  showBanner(words) {
    const banner = document.getElementById("banner");
    banner.textContent = words;
    banner.hidden = false;
  }

  hideBanner() {
    document.getElementById("banner").hidden = true;
  }

  showCard(title, words) {
    const card = document.getElementById("card");
    card.replaceChildren(element("h2", { textContent: title }), element("p", { textContent: words }));
    card.hidden = false;
  }

  hideCard() {
    document.getElementById("card").hidden = true;
  }
}
