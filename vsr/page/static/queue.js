// The queue: what waits, in its order, which can be changed by dragging and by keys.

import { post } from "./connection.js";
import { hide, Keyed, label, make, put, say } from "./elements.js";
import { duration } from "./words.js";

const EDGE_PIXELS = 64; // of the window, where a drag scrolls it
const SCROLL_PIXELS = 14;

export class Queue {
  /** `announce` tells those who listen to the page. */
  constructor(list, announce) {
    this.list = list;
    this.announce = announce;
    this.jobs = [];
    this.isCut = false; // jobs wait that are not listed: the end of the list is not the end of the queue then
    this.dragged = null; // the row under the finger; nothing is rearranged meanwhile
    this.moved = null; // the job whose new place is to be announced
    this.rows = new Keyed(list, () => new Row(this));
  }

  /** The first of `all` jobs. */
  show(jobs, all) {
    this.jobs = jobs;
    this.isCut = all > jobs.length;
    this.arrange();
    if (this.dragged || this.moved === null) return;
    const place = jobs.findIndex((job) => job.id === this.moved);
    if (place >= 0) this.announce(`${jobs[place].name} is now ${place + 1} of ${all}`);
    this.moved = null;
  }

  arrange() {
    if (!this.dragged) this.rows.show(this.jobs, (job) => job.id);
  }

  /** Put a job at a place (0: the first) among those listed. */
  async moveTo(id, place) {
    const others = this.jobs.filter((job) => job.id !== id);
    const last = this.isCut ? others.length - 1 : others.length;
    const target = Math.max(0, Math.min(place, last));
    const before = target < others.length ? others[target].id : null;
    this.moved = id;
    if (!(await post(`/api/jobs/${id}/move`, { before }))) {
      this.moved = null;
      this.arrange(); // back as it was
    }
  }

  startDrag(row, event) {
    if (event.button !== 0) return;
    event.preventDefault();
    row.grip.focus({ preventScroll: true });
    row.grip.setPointerCapture(event.pointerId);
    row.element.classList.add("dragged");
    this.dragged = row;
  }

  /** The neighbours step aside; the dragged row itself must not be taken out, or it would lose the pointer. */
  drag(event) {
    if (!this.dragged) return;
    const { element } = this.dragged;
    // All that it has passed: a quick hand sends few events.
    for (let row; (row = element.nextElementSibling) && event.clientY > middle(row); ) this.list.insertBefore(row, element);
    for (let row; (row = element.previousElementSibling) && event.clientY < middle(row); ) element.after(row);
    if (event.clientY < EDGE_PIXELS) window.scrollBy(0, -SCROLL_PIXELS);
    else if (event.clientY > window.innerHeight - EDGE_PIXELS) window.scrollBy(0, SCROLL_PIXELS);
  }

  endDrag(isMeant) {
    if (!this.dragged) return;
    const { element, job } = this.dragged;
    const place = [...this.list.children].indexOf(element);
    element.classList.remove("dragged");
    this.dragged = null;
    const isMoved = this.jobs[place]?.id !== job.id;
    if (isMeant && isMoved) this.moveTo(job.id, place);
    else this.arrange();
  }
}

const middle = (element) => {
  const { top, height } = element.getBoundingClientRect();
  return top + height / 2;
};

class Row {
  constructor(queue) {
    this.element = make("queue");
    const $ = (name) => this.element.querySelector(name);
    [this.name, this.note, this.grip] = [$(".name"), $(".note"), $(".grip")];
    [this.up, this.down, this.pause, this.cancel] = [$(".up"), $(".down"), $(".pause"), $(".cancel")];
    this.retry = $(".retry");
    const step = (button, places) => {
      // Not `disabled`: that would throw the focus away when the row arrives at the end.
      if (button.getAttribute("aria-disabled") !== "true") queue.moveTo(this.job.id, this.place + places);
    };
    this.up.addEventListener("click", () => step(this.up, -1));
    this.down.addEventListener("click", () => step(this.down, 1));
    this.pause.addEventListener("click", () => {
      post(`/api/jobs/${this.job.id}/${this.job.state === "paused" ? "resume" : "pause"}`);
    });
    this.retry.addEventListener("click", () => post(`/api/jobs/${this.job.id}/retry`));
    this.cancel.addEventListener("click", () => post(`/api/jobs/${this.job.id}/cancel`));
    this.grip.addEventListener("pointerdown", (event) => queue.startDrag(this, event));
    this.grip.addEventListener("pointermove", (event) => queue.drag(event));
    this.grip.addEventListener("pointerup", () => queue.endDrag(true));
    this.grip.addEventListener("pointercancel", () => queue.endDrag(false));
    this.grip.addEventListener("keydown", (event) => {
      if (event.key === "Escape") return queue.endDrag(false);
      const places = { ArrowUp: -1, ArrowDown: 1, Home: -Infinity, End: Infinity }[event.key];
      if (places === undefined) return undefined;
      event.preventDefault(); // no scrolling
      return queue.moveTo(this.job.id, this.place + places);
    });
    this.queue = queue;
  }

  show(job, place) {
    this.job = job;
    this.place = place;
    const isPaused = job.state === "paused";
    this.element.classList.toggle("paused", isPaused);
    say(this.name, job.name);
    say(this.note, noteOf(job));
    label(this.grip, `Move ${job.name}: drag, or use the arrow keys`);
    label(this.up, `Move ${job.name} up`);
    label(this.down, `Move ${job.name} down`);
    label(this.pause, `${isPaused ? "Resume" : "Pause"} ${job.name}`);
    label(this.retry, `Try ${job.name} now`);
    hide(this.retry, isPaused || secondsUntil(job) <= 0);
    label(this.cancel, `Cancel ${job.name}`);
    put(this.up, "aria-disabled", String(place === 0));
    put(this.down, "aria-disabled", String(place === this.queue.jobs.length - 1));
  }
}

function noteOf(job) {
  if (job.state === "paused") return "paused";
  if (!job.error) return "";
  const wait = secondsUntil(job);
  return `${wait > 0 ? `tries again in ${duration(wait)}` : "tries again"}: ${job.error}`;
}

const secondsUntil = (job) => (job.not_before ?? 0) - Date.now() / 1000;
