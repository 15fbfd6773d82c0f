// The current frame, before | after, with a line between them that is dragged by mouse, finger or keys.

import { label } from "./elements.js";

const POLL_MS = 2000;
const PIXELS = "vsr.pixels"; // in local storage: whether the frame before is shown in its own pixels

export class Compare {
  /** `onTime` hears the time of the frame that is shown, in seconds. */
  constructor(card, onTime) {
    this.onTime = onTime;
    this.isLive = true;
    this.id = null;
    this.time = null;
    this.urls = [];
    this.stage = card.querySelector(".stage");
    this.before = card.querySelector(".before");
    this.after = card.querySelector(".after");
    this.split = card.querySelector(".split");
    this.range = card.querySelector("input[type=range]");
    this.noFrame = card.querySelector(".no-frame");
    this.pixels = card.querySelector("button.pixels");
    this.fill = card.querySelector("button.fill");
    this.listen();
    this.showPixels(localStorage.getItem(PIXELS) === "yes");
    this.place();
    this.isSeen = false;
    this.observer = new IntersectionObserver((entries) => {
      this.isSeen = entries.at(-1).isIntersecting;
      if (this.isSeen) this.poll();
    });
    this.observer.observe(this.stage);
    this.timer = setInterval(() => this.poll(), POLL_MS);
  }

  close() {
    this.isClosed = true;
    clearInterval(this.timer);
    this.observer.disconnect();
    this.urls.forEach((url) => URL.revokeObjectURL(url));
  }

  follow(id) {
    this.id = id;
  }

  listen() {
    this.range.addEventListener("input", () => this.place());
    this.stage.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || this.split.hidden || event.target.closest("button")) return;
      event.preventDefault(); // no drag of the picture
      this.stage.setPointerCapture(event.pointerId);
      this.range.focus({ preventScroll: true, focusVisible: false });
      this.drag(event);
    });
    this.stage.addEventListener("pointermove", (event) => {
      if (this.stage.hasPointerCapture(event.pointerId)) this.drag(event);
    });
    this.pixels.addEventListener("click", () => {
      const isOn = this.pixels.getAttribute("aria-pressed") !== "true";
      localStorage.setItem(PIXELS, isOn ? "yes" : "no");
      this.showPixels(isOn);
    });
    label(this.fill, "Fill the screen");
    this.fill.hidden = !document.fullscreenEnabled;
    this.fill.addEventListener("click", () => {
      if (document.fullscreenElement) document.exitFullscreen();
      else this.stage.parentElement.requestFullscreen();
    });
  }

  drag(event) {
    const { left, width } = this.stage.getBoundingClientRect();
    this.range.value = (100 * (event.clientX - left)) / width;
    this.place();
  }

  place() {
    const share = Number(this.range.value);
    this.stage.style.setProperty("--split", `${share}%`);
    this.range.setAttribute("aria-valuetext", `${share} % before`);
    this.split.classList.toggle("all-after", share < 12);
    this.split.classList.toggle("all-before", share > 88);
  }

  showPixels(isOn) {
    this.pixels.setAttribute("aria-pressed", String(isOn));
    this.before.classList.toggle("pixelated", isOn);
  }

  /** Ask for the current frame, while somebody looks. */
  async poll() {
    if (!this.isLive || !this.isSeen || this.isAsking || document.visibilityState !== "visible") return;
    this.isAsking = true;
    const form = await this.ask();
    this.isAsking = false;
    if (form) await this.exchange(form);
  }

  /** The parts of the answer; null if there is nothing new, or no connection (which the page says already). */
  async ask() {
    const since = this.time === null ? "" : `?since=${encodeURIComponent(this.time)}`;
    try {
      const response = await fetch(`/api/jobs/${this.id}/preview${since}`);
      return response.status === 200 ? await response.formData() : null;
    } catch {
      return null;
    }
  }

  /** Both pictures at once, when both are decoded: there is no moment of one frame beside another. */
  async exchange(form) {
    const urls = ["before", "after"].map((name) => URL.createObjectURL(form.get(name)));
    const pictures = urls.map((url) => Object.assign(new Image(), { src: url }));
    const isGood = await Promise.all(pictures.map((picture) => picture.decode())).then(() => true, () => false);
    if (!isGood || this.isClosed) {
      urls.forEach((url) => URL.revokeObjectURL(url)); // half a picture; the next one will be whole
      return;
    }
    [this.before.src, this.after.src] = urls;
    this.urls.forEach((url) => URL.revokeObjectURL(url));
    this.urls = urls;
    this.stage.style.setProperty("--ratio", pictures[1].naturalWidth / pictures[1].naturalHeight);
    this.before.hidden = this.after.hidden = this.split.hidden = false;
    this.noFrame.hidden = true;
    this.time = form.get("time");
    this.onTime(Number(this.time));
  }
}
