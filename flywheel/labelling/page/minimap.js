// The whole image, small, with a frame around what the stage shows; a click or drag there moves the view.

import { STRIP } from "./viewport.js";

const WIDEST = 0.9, TALLEST = 0.22; // of the stage
const SMALLEST = 36; // CSS px, so that a strip stays visible

export class Minimap {
  constructor(app, canvas) {
    this.app = app;
    this.canvas = canvas;
    app.signals.on("drawn", () => this.#draw());
    const move = (event) => {
      const box = canvas.getBoundingClientRect(), { image } = app.viewport;
      const x = ((event.clientX - box.left) / box.width) * image.width;
      const y = ((event.clientY - box.top) / box.height) * image.height;
      app.viewport.centreOn({ x, y });
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      move(event);
    });
    canvas.addEventListener("pointermove", (event) => event.buttons && move(event));
  }

  #draw() {
    const { app, canvas } = this, { viewport: view, picture } = app;
    canvas.hidden = !picture || view.seesAll;
    if (canvas.hidden) return;
    const strip = picture.width > STRIP * picture.height;
    const most = { width: (strip ? WIDEST : TALLEST) * view.stage.width, height: TALLEST * view.stage.height };
    const scale = Math.min(most.width / picture.width, most.height / picture.height);
    const width = Math.round(picture.width * scale), height = Math.max(SMALLEST, Math.round(picture.height * scale));
    const ratio = window.devicePixelRatio || 1;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    canvas.classList.toggle("strip", strip);
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const context = canvas.getContext("2d"), seen = view.seen();
    context.drawImage(picture.canvas, 0, 0, canvas.width, canvas.height);
    if (!app.settings.hidden && app.overlay) context.drawImage(app.overlay.canvas, 0, 0, canvas.width, canvas.height);
    const across = canvas.width / picture.width, down = canvas.height / picture.height;
    context.fillStyle = "rgba(0, 0, 0, 0.45)";
    context.beginPath();
    context.rect(0, 0, canvas.width, canvas.height);
    context.rect(seen.x * across, seen.y * down, seen.width * across, seen.height * down);
    context.fill("evenodd");
    context.lineWidth = 1.5 * ratio;
    context.strokeStyle = "#fff";
    context.strokeRect(seen.x * across, seen.y * down, seen.width * across, seen.height * down);
  }
}
