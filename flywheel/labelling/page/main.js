// Starts the page.

import { App } from "./app.js";
import { signIn } from "./dialogs.js";
import { Keyboard } from "./keys.js";
import { Minimap } from "./minimap.js";
import { Painter } from "./painter.js";
import { Palette } from "./palette.js";
import { Pointer } from "./pointer.js";
import { Side } from "./side.js";
import { Status } from "./status.js";
import { Toolbar } from "./toolbar.js";
import { say, setLanguage, translate } from "./words.js";

const REFRESH = 15000, KEEP = 60000; // ms between looks at the queue, and between signs that an image is worked on

const app = new App();
const canvas = document.getElementById("view");
app.pointer = new Pointer(app, canvas);
new Keyboard(app);
new Painter(app, canvas);
new Minimap(app, document.getElementById("minimap"));
new Toolbar(app);
new Palette(app);
new Side(app);
new Status(app);
addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-command]");
  if (!button) return;
  app.run(button.dataset.command);
  if (event.detail && button.dataset.command !== "edit_caption") button.blur(); // keys go back to the stage
});

let about = await app.api.get("hello");
setLanguage(app.settings.language || about.lang);
translate();
document.title = say("title");
if (!about.person) {
  await signIn(about, (message) => app.api.post("session", message));
  about = await app.api.get("hello");
}
app.about = about;
app.me = about.person;
app.setClasses(about.classes);
for (const name of ["language", "tool", "settings"]) app.signals.tell(name);
await app.rounds.resume();
await app.refresh();

setInterval(() => document.hidden || app.refresh(), REFRESH);
setInterval(() => {
  if (!app.image || app.reviewing || !app.timer.working) return;
  app.api.post(`samples/${app.image.sample}/lease`).catch((error) => error.code === "conflict" && app.failed(error));
}, KEEP);
window.flywheel = app; // for people who look into the page, and for tests
document.body.dataset.ready = "yes";
