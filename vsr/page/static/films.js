// The films at work.

import { post } from "./connection.js";
import { Compare } from "./compare.js";
import { Keyed, label, make, say } from "./elements.js";
import { count, moment, percent, rate, timeLeft } from "./words.js";

const SURE_MS = 4000;

export class Films {
  constructor(section) {
    this.section = section;
    this.list = new Keyed(section, () => new Film());
    this.idle = make("idle");
  }

  show(state, isConnected) {
    this.idle.remove();
    this.section.classList.toggle("several", state.working.length > 1);
    this.list.show(state.working, (film) => film.job.id);
    for (const view of this.list.views.values()) {
      view.compare.isLive = isConnected;
      view.showEnding(state.paused);
    }
    if (state.working.length === 0) this.showIdle(state);
  }

  showIdle({ paused, counts }) {
    const waiting = counts.waiting ?? 0;
    const [title, text] = paused
      ? ["Paused", waiting ? "Films wait until you resume." : "Nothing is begun until you resume."]
      : waiting
        ? ["About to begin", "The next film of the queue is taken in a moment."]
        : ["All quiet", "Drop films here, or put them into the watched folder: they are begun by themselves."];
    say(this.idle.querySelector(".idle-title"), title);
    say(this.idle.querySelector(".idle-text"), text);
    this.section.append(this.idle);
  }
}

class Film {
  constructor() {
    this.element = make("film");
    this.$ = (name) => this.element.querySelector(name);
    this.compare = new Compare(this.element, (time) => say(this.$(".at"), moment(time)));
    this.$("button.pause").addEventListener("click", () => post(`/api/jobs/${this.id}/pause`));
    this.cancel = this.$("button.cancel");
    this.cancel.addEventListener("click", () => this.askOrCancel());
    say(this.$(".at"), "-");
  }

  close() {
    this.compare.close();
  }

  show(film) {
    const { job, done, total, fps, eta_seconds: eta, note, device, rates = [] } = film;
    [this.id, this.state, this.eta] = [job.id, job.state, eta];
    this.compare.follow(job.id);
    say(this.$(".name"), job.name);
    const attempt = job.attempts > 1 ? `attempt ${job.attempts}` : "";
    say(this.$(".where"), [device === "auto" ? "" : device, attempt, note].filter(Boolean).join(" · "));
    say(this.$(".percent"), total ? percent(done, total) : count(done));
    say(this.$(".rate"), fps === null ? "-" : rate(fps));
    say(this.$(".frames"), total ? `${count(done)} of ${count(total)}` : count(done));
    const bar = this.$("progress");
    label(bar, `Progress of ${job.name}`);
    if (total) bar.value = Math.min(done / total, 1);
    else bar.removeAttribute("value");
    this.drawCurve(rates);
    label(this.$("button.pause"), `Pause ${job.name}`);
    this.name = job.name;
    this.nameCancel();
  }

  /** Several films have such a button. */
  nameCancel() {
    label(this.cancel, `${this.cancel.textContent} ${this.name}`);
  }

  /** What was told to stop does so after the pictures at hand, which may take a while. */
  showEnding(isAllPaused) {
    const isPausing = this.state === "paused" || isAllPaused;
    const isCancelled = this.state === "cancelled";
    const left = this.eta === null ? "" : timeLeft(this.eta);
    say(this.$(".left"), isCancelled ? "is being cancelled" : isPausing ? "stops after the pictures at hand" : left);
    this.$("button.pause").hidden = isPausing || isCancelled;
    this.cancel.hidden = isCancelled;
  }

  /** The curve of the last two minutes; its height is the fastest of them. */
  drawCurve(rates) {
    const top = Math.max(...rates, 0.001) * 1.1;
    const step = 120 / 59;
    const first = 120 - (rates.length - 1) * step;
    const points = rates.map((value, i) => `${(first + i * step).toFixed(1)},${(31 - (30 * value) / top).toFixed(1)}`);
    const line = points.length > 1 ? `M${points.join("L")}` : "";
    this.$(".stroke").setAttribute("d", line);
    this.$(".area").setAttribute("d", line && `${line}L120,32L${first.toFixed(1)},32Z`);
  }

  /** What has been computed would be lost: the second click within a moment is meant. */
  askOrCancel() {
    clearTimeout(this.timer);
    if (this.cancel.classList.contains("sure")) {
      this.calmDown();
      post(`/api/jobs/${this.id}/cancel`);
      return;
    }
    this.cancel.classList.add("sure");
    say(this.cancel, "Really cancel");
    this.nameCancel();
    this.timer = setTimeout(() => this.calmDown(), SURE_MS);
  }

  calmDown() {
    this.cancel.classList.remove("sure");
    say(this.cancel, "Cancel");
    this.nameCancel();
  }
}
