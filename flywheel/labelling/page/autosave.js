// Drafts: saved on the server soon after every change, and at once in the browser, in case the server is away.

import { freshId } from "./api.js";

const SOON = 400, AGAIN = 3000; // ms after a change; after a failure

export class Autosave {
  #timer = 0;
  #saving = null;
  #dirty = false;

  constructor(app) {
    this.app = app;
    this.state = "saved"; // saved, saving, unsaved, offline, conflict
    this.revision = 0;
    this.window = freshId();
    addEventListener("pagehide", () => this.leave());
    document.addEventListener("visibilitychange", () => document.hidden && this.flush());
  }

  #key(sample) {
    return `flywheel.draft.${this.app.me.name}.${sample}`;
  }

  // Begin with an image; returns the browser's own copy when the server never got it.
  begin(sheet) {
    clearTimeout(this.#timer);
    this.#dirty = false;
    this.revision = sheet.revision;
    this.#set("saved");
    const kept = localStorage.getItem(this.#key(sheet.sample));
    if (!kept) return null;
    const copy = JSON.parse(kept);
    // the server may have this window's last draft without the window having heard of it: the copy is newer then
    if (copy.revision === sheet.revision || copy.content.window === sheet.draft?.window) return copy.content;
    localStorage.removeItem(this.#key(sheet.sample));
    return null;
  }

  // always: also while the page is busy, for what was not drawn just now.
  touch({ always = false } = {}) {
    if (!this.app.image || this.app.reviewing || (this.app.busy && !always)) return;
    this.#dirty = true;
    this.#set(this.state === "offline" ? "offline" : "unsaved");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.flush(), SOON);
  }

  #set(state) {
    this.state = state;
    this.app.signals.tell("saved");
  }

  #keep(content) {
    try {
      localStorage.setItem(this.#key(content.sample), JSON.stringify({ revision: this.revision, content: content.draft }));
    } catch {
      localStorage.removeItem(this.#key(content.sample)); // a full store: the server's copy has to do, not an older one
    }
  }

  #content() {
    const { app } = this;
    return {
      sample: app.image.sample,
      draft: { window: this.window, answer: app.answer(), caption_edited: app.captionEdited },
    };
  }

  // Save what is not saved yet; resolves when the server has it or does not answer.
  async flush() {
    clearTimeout(this.#timer);
    await this.#saving;
    if (!this.#dirty || !this.app.image || this.app.reviewing) return;
    this.#saving = this.#save();
    await this.#saving;
  }

  async #save() {
    const content = this.#content(), { app } = this;
    this.#dirty = false;
    this.#keep(content);
    this.#set("saving");
    try {
      const answer = await app.api.put(`samples/${content.sample}/draft`, { revision: this.revision, ...content.draft });
      localStorage.removeItem(this.#key(content.sample));
      if (app.image?.sample !== content.sample) return;
      this.revision = answer.revision;
      app.signals.tell("caption", answer.caption);
      this.#set(this.#dirty ? "unsaved" : "saved");
    } catch (error) {
      if (app.image?.sample !== content.sample) return;
      this.#dirty = true;
      if (error.code === "conflict") {
        this.#set("conflict");
        app.failed(error);
      } else {
        this.#set("offline");
        this.#timer = setTimeout(() => this.flush(), AGAIN);
      }
    } finally {
      this.#saving = null;
    }
  }

  // Send nothing more for now, and wait for what is on its way.
  async rest() {
    clearTimeout(this.#timer);
    await this.#saving;
    clearTimeout(this.#timer);
  }

  // The answer is with the server; nothing is left to save.
  forget(sample) {
    clearTimeout(this.#timer);
    this.#dirty = false;
    localStorage.removeItem(this.#key(sample));
    this.#set("saved");
  }

  // Send what is not saved yet without waiting: the page or the image goes away.
  leave() {
    if (!this.#dirty || !this.app.image || this.app.reviewing) return;
    const content = this.#content();
    this.#keep(content);
    const message = { revision: this.revision, ...content.draft };
    if (JSON.stringify(message).length < 60000) {
      this.app.api.put(`samples/${content.sample}/draft`, message, { keepalive: true }).catch(() => {});
    }
  }
}
