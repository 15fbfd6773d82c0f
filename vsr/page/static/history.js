// What is over: done, failed with the reason, cancelled.

import { post } from "./connection.js";
import { hide, Keyed, label, make, put, say, sayIf } from "./elements.js";
import { ago, duration, rate } from "./words.js";

export class History {
  constructor(list) {
    this.rows = new Keyed(list, () => new Row());
  }

  show(jobs) {
    this.rows.show(jobs, (job) => job.id);
  }

  /** The times, as they go by. */
  showTimes() {
    for (const row of this.rows.views.values()) row.showTime();
  }
}

class Row {
  constructor() {
    this.element = make("history");
    this.$ = (name) => this.element.querySelector(name);
    this.$(".retry").addEventListener("click", () => post(`/api/jobs/${this.job.id}/retry`));
  }

  show(job) {
    this.job = job;
    const isFailed = job.state === "failed";
    put(this.element, "class", `row ${["done", "failed"].includes(job.state) ? job.state : "cancelled"}`);
    say(this.$(".name"), job.name);
    sayIf(this.$(".error"), isFailed ? job.error : null);
    sayIf(this.$(".hint"), isFailed ? job.hint : null);
    say(this.$(".sums"), sumsOf(job));
    hide(this.$(".retry"), job.state === "done");
    label(this.$(".retry"), `Retry ${job.name}`);
    this.showTime();
  }

  showTime() {
    const { ended } = this.job;
    const time = this.$("time");
    hide(time, ended === null);
    if (ended === null) return;
    const date = new Date(ended * 1000);
    put(time, "datetime", date.toISOString());
    put(time, "title", date.toLocaleString());
    say(time, ago(Date.now() / 1000 - ended));
  }
}

/** "480 × 270 to 1920 × 1080 · 22 min · 33.2 frames/s" */
function sumsOf({ state, attempts, report }) {
  if (state === "cancelled") return "cancelled";
  if (state === "failed") return attempts > 1 ? `failed after ${attempts} attempts` : "failed";
  const { size_in: from, size_out: to, seconds, fps } = report ?? {};
  const size = from && to ? `${from.join(" × ")} to ${to.join(" × ")}` : "";
  return [size, seconds && duration(seconds), fps && rate(fps)].filter(Boolean).join(" · ");
}
