// The page: gets what changed, and hands it to the parts that show it.

import { follow, post, tellNoticesTo } from "./connection.js";
import { Films } from "./films.js";
import { History } from "./history.js";
import { Queue } from "./queue.js";
import { Uploads } from "./uploads.js";
import { bytes, count, percent } from "./words.js";

const $ = (id) => document.getElementById(id);
const state = { queue: [], working: [], history: [], counts: {}, paused: false, trouble: null };
let isConnected = false;
let hasState = false;

const films = new Films($("films"));
const queue = new Queue($("queue"), announce);
const history = new History($("history"));
new Uploads($("uploads"), $("drop"), $("choose"), $("files"));

function show() {
  document.body.classList.toggle("lost", !isConnected && hasState);
  document.body.classList.toggle("paused", state.paused);
  showStatus();
  showBanner();
  if (!hasState) return;
  films.show(state, isConnected);
  showQueue();
  showHistory();
  $("disk").textContent = diskWords();
  $("version").textContent = `vsr ${state.version}`;
  $("logout").hidden = !state.guarded;
  $("pause").hidden = false;
  $("pause").textContent = state.paused ? "Resume" : "Pause all";
  $("pause").classList.toggle("primary", state.paused);
}

// A film that was told to pause or end is at work until its group of pictures is done, and shown there alone.
const resting = (jobs) => jobs.filter((job) => !state.working.some((film) => film.job.id === job.id));

function showQueue() {
  const { waiting = 0, paused = 0 } = state.counts;
  const jobs = resting(state.queue);
  const all = waiting + paused - (state.queue.length - jobs.length);
  queue.show(jobs, all);
  showList("queue", jobs.length, all, count(all));
}

function showHistory() {
  const { done = 0, failed = 0, cancelled = 0 } = state.counts;
  const jobs = resting(state.history);
  const all = done + failed + cancelled - (state.history.length - jobs.length);
  history.show(jobs);
  const words = [done && `${count(done)} done`, failed && `${count(failed)} failed`];
  showList("history", jobs.length, all, words.filter(Boolean).join(", "));
}

function showList(name, shown, all, words) {
  $(`${name}-count`).textContent = all ? words : "";
  $(`${name}-empty`).hidden = all > 0 || shown > 0;
  $(`${name}-more`).hidden = all <= shown;
  $(`${name}-more`).textContent = `and ${count(all - shown)} more`;
}

function showStatus() {
  const words = statusWords();
  if ($("status").textContent !== words) $("status").textContent = words;
  document.title = titleWords();
}

function statusWords() {
  if (!isConnected) return hasState ? "Not connected" : "Connecting";
  const num = state.working.length;
  if (state.paused) return num ? "Pausing" : "Paused";
  if (num) return num === 1 ? "1 film at work" : `${num} films at work`;
  return state.counts.waiting ? "About to begin" : "Nothing to do";
}

function titleWords() {
  if (!isConnected) return hasState ? "not connected - vsr" : "vsr";
  const [film, ...others] = state.working;
  if (!film) return state.paused ? "paused - vsr" : "vsr";
  const more = others.length ? ` + ${others.length}` : "";
  return `${film.total ? `${percent(film.done, film.total)} ` : ""}${film.job.name}${more}`;
}

function showBanner() {
  const lost = hasState && !isConnected;
  const words = lost
    ? "The daemon does not answer. What you see is from before; the page comes back by itself."
    : state.trouble;
  $("banner").hidden = !words;
  $("banner").classList.toggle("of-trouble", !lost);
  if ($("banner").textContent !== (words ?? "")) $("banner").textContent = words ?? "";
}

function diskWords() {
  const free = `${bytes(state.disk_free_bytes)} free`;
  return state.disk_floor_bytes ? `${free}, ${bytes(state.disk_floor_bytes)} of them are kept free` : free;
}

function announce(text) {
  $("announcer").textContent = text;
}

let noticeTimer = 0;
function closeNotice() {
  $("notice").hidden = true;
}

tellNoticesTo((text, hint) => {
  $("notice-text").textContent = text;
  $("notice-hint").textContent = hint ?? "";
  $("notice").hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(closeNotice, 12000);
});

$("notice-close").addEventListener("click", closeNotice);
$("pause").addEventListener("click", () => post(state.paused ? "/api/resume" : "/api/pause"));
$("logout").addEventListener("click", async () => {
  if (await post("/logout")) location.assign("/login");
});
setInterval(() => {
  if (!hasState) return;
  showQueue(); // "in 5 min" and "5 min ago" go by without news
  history.showTimes();
}, 20000);

follow({
  onState(parts) {
    Object.assign(state, parts);
    isConnected = true;
    hasState ||= "queue" in parts; // not while the daemon cannot read its own state
    show();
  },
  onFound() {
    isConnected = true;
    show();
  },
  onLost() {
    isConnected = false;
    show();
  },
});
