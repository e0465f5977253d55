// Reviewing: one label after the other, accepted (also with corrections), sent back or left out.

import { askFor } from "./dialogs.js";
import { say } from "./words.js";

const LOOK = 5000; // ms between two looks for labels when there is none

export class Review {
  #passed = [];
  #timer = 0;
  #judging = false;

  constructor(app) {
    this.app = app;
    this.case = null;
    this.showsOther = false;
  }

  // The label that is shown: the first one, or the other opinion.
  get label() {
    return this.showsOther ? this.case?.other : this.case?.label;
  }

  async enter() {
    const { app } = this;
    if (!app.me.reviews || app.busy) return; // busy: an answer is on its way, or another image
    await app.leaving(async () => {
      app.reviewing = true;
      this.#passed = [];
      await this.#next();
    });
  }

  async leave() {
    const { app } = this, sample = this.case?.sample;
    clearTimeout(this.#timer);
    app.reviewing = false;
    this.case = null;
    app.signals.tell("reviewing");
    if (sample) await app.api.post("review/leave", { sample }).catch(() => {}); // its lease runs out by itself, too
    await app.rounds.resume();
  }

  async #next() {
    const { app } = this;
    clearTimeout(this.#timer);
    this.showsOther = false;
    let found = null;
    try {
      ({ case: found } = await app.api.post("review/next", { passed: this.#passed }));
      if (!found && this.#passed.length) {
        this.#passed = [];
        ({ case: found } = await app.api.post("review/next", { passed: [] }));
      }
    } catch (error) {
      return app.failed(error);
    }
    if (!app.reviewing) return; // left meanwhile
    this.case = found;
    app.signals.tell("reviewing");
    if (this.case) return app.open({ ...this.case, draft: null, revision: 0, sent_back: null });
    app.close();
    app.showCard(say("review_done"), say("review_words"));
    this.#timer = setTimeout(() => this.app.reviewing && !this.case && this.#next(), LOOK);
  }

  async pass() {
    if (!this.case || this.app.busy) return;
    this.#passed.push(this.case.sample);
    this.app.setBusy(true);
    await this.#next().finally(() => this.app.setBusy(false));
  }

  async toggleOther() {
    if (!this.case?.other) return;
    this.showsOther = !this.showsOther;
    await this.app.open({ ...this.case, label: this.label, draft: null, revision: 0, sent_back: null });
    this.app.signals.tell("reviewing");
  }

  async judge(verdict) {
    if (!this.case || !this.app.editor || this.#judging) return;
    this.#judging = true; // a key pressed twice must not judge twice
    await this.#judge(verdict).finally(() => (this.#judging = false));
  }

  async #judge(verdict) {
    const { app } = this;
    await app.clickLine.settled();
    if (app.image?.sample !== this.case?.sample) return; // what is on the stage is not the label that is judged
    const title = { reject: "reject_title", leave_out: "leave_out_title" }[verdict];
    const action = { reject: "reject", leave_out: "leave_out" }[verdict];
    const reason = title ? await askFor(title, title.replace("title", "words"), { lines: 3, action }) : "";
    if (title && !reason) return;
    const corrected = verdict === "accept" && (app.editor.touched || app.captionTouched) ? app.answer() : null;
    app.setBusy(true);
    try {
      await app.api.post(`review/${this.label.uid}`, { verdict, reason, corrected });
      app.toast({ accept: corrected ? "corrected" : "accepted", reject: "was_sent_back", leave_out: "was_left_out" }[verdict]);
    } catch (error) {
      app.failed(error);
      if (error.code !== "conflict") return app.setBusy(false);
      // somebody else was quicker: on to the next
    }
    await this.#next().finally(() => app.setBusy(false));
    app.refresh();
  }
}
