// The way through the queue: next, previous, submit, skip.

import { say } from "./words.js";

const AGAIN = 3000; // ms after which an answer that the server did not take is sent again
const LOOK = 4000; // ms between two looks for work when there is none

export class Rounds {
  #sending = false;
  #moving = false; // a key pressed twice must not move twice
  #timer = 0;
  #sureOf = null; // image for which "no defect" was pressed once over a mask

  constructor(app) {
    this.app = app;
    this.trail = [];
  }

  get place() {
    return this.trail.findIndex(({ sample }) => sample === this.app.image?.sample);
  }

  // The image that lies on the desk, or the next of the queue.
  async resume() {
    await this.#take(() => this.app.api.post("next", { fresh: false }));
  }

  async #take(ask) {
    const { app } = this;
    clearTimeout(this.#timer);
    let found = null;
    try {
      found = await ask();
      const { image, trail } = found;
      if (app.reviewing) return; // the image stays on the desk, and resume() finds it
      this.trail = trail;
      if (image) await app.open(image);
      else await this.#wait();
    } catch (error) {
      if (error.code !== "offline") return app.failed(error);
      app.toast("offline");
      const again = found ? async () => found : ask; // what was given is not asked for once more
      this.#timer = setTimeout(() => this.#take(again), AGAIN);
    }
  }

  // Nothing to do: say why, and look again from time to time.
  async #wait() {
    const { app } = this;
    app.close();
    const progress = await app.api.get("progress");
    app.signals.tell("progress", progress);
    app.showCard(...reason(progress));
    this.#timer = setTimeout(() => app.reviewing || app.image || this.resume(), LOOK);
  }

  go(by) {
    return this.#move(() => this.#go(by));
  }

  async #move(work) {
    if (this.#sending || this.#moving) return;
    this.#moving = true;
    await this.app.leaving(work).finally(() => (this.#moving = false));
  }

  async #go(by) {
    const { app } = this;
    const place = this.place, wanted = place < 0 && by < 0 ? this.trail.length - 1 : place + by;
    if (wanted < 0) return app.toast("no_first");
    if (wanted < this.trail.length && (place >= 0 || by < 0)) {
      await this.#take(() => app.api.post(`samples/${this.trail[wanted].sample}/open`));
    } else await this.#take(() => app.api.post("next", { fresh: true }));
  }

  async submit({ flagged = false, comment = "", clean = false } = {}) {
    const { app } = this;
    if (!app.editor || this.#sending || app.busy) return;
    await app.clickLine.settled();
    if (this.#sending || app.busy) return;
    if (!flagged && !clean && app.editor.isClean) return app.toast("nothing_marked");
    const { sample } = app.image, answer = { ...app.answer(), flagged, comment };
    this.#sending = true;
    app.setBusy(true);
    await app.autosave.rest(); // a draft must not arrive after the answer
    try {
      const receipt = await this.#send(`samples/${sample}/answer`, answer);
      app.autosave.forget(sample);
      this.#thank(receipt);
    } catch (error) {
      this.#sending = false;
      app.setBusy(false);
      app.autosave.touch();
      return app.failed(error);
    }
    await this.resume().finally(() => {
      this.#sending = false;
      app.setBusy(false);
    });
    if (app.image?.sample === sample && !app.reviewing) { // the server went away: what was answered is not drawn on
      app.close();
      app.showCard(say("loading"), say("offline"));
    }
    app.refresh();
  }

  async #send(path, answer) {
    for (;;) {
      try {
        return await this.app.api.post(path, answer);
      } catch (error) {
        if (error.code !== "offline") throw error;
        this.app.toast("sending_again");
        await new Promise((done) => setTimeout(done, AGAIN));
      }
    }
  }

  #thank({ held, agreement }) {
    const share = agreement === null ? "" : Math.round(100 * agreement);
    if (agreement !== null) this.app.toast(held === "disagree" ? "disagreed" : "agreed", share);
    else this.app.toast(held ? "sent_to_reviewer" : "submitted");
  }

  async submitClean() {
    const { app } = this;
    if (!app.editor || this.#sending) return;
    await app.clickLine.settled();
    if (!app.editor.isClean) {
      if (this.#sureOf !== app.image.sample) {
        this.#sureOf = app.image.sample;
        return app.toast("press_again");
      }
      app.editor.clear();
    }
    this.#sureOf = null;
    await this.submit({ clean: true });
  }

  skip() {
    return this.app.image ? this.#move(() => this.#skip()) : undefined; // also one that could not be shown
  }

  async #skip() {
    const { app } = this;
    const { sample } = app.image;
    try {
      await app.api.post(`samples/${sample}/skip`);
    } catch (error) {
      return app.failed(error);
    }
    await this.resume();
  }
}

// Title and words of the card that stands where the image would be.
function reason({ state, total, finished, held }) {
  if (state === "preparing") return [say("loading"), say("preparing")];
  if (!total) return [say("empty_title"), say("empty_words")];
  if (!finished) return [say("none_title"), say("none_words")];
  const words = { handing_over: "handing_over", busy: "busy" }[state] ?? "done_words";
  return [say("done_title"), say(words, total) + (held ? ` (${say("with_reviewer", held)})` : "")];
}
