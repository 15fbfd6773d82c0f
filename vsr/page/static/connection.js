// The way to the daemon and back: what it tells (server-sent events), what it is asked (fetch).

const SILENCE_MS = 40000; // the daemon says something every 15 s
const LONGEST_PAUSE_MS = 15000;
// Browsers have six connections to a host for all their tabs: those that nobody sees do not keep one.
const HIDDEN_MS = 60000;
const GLANCE_MS = 15000;

let notice = () => {};

/** Where errors of `post` are shown: a function of (text, hint or null). */
export function tellNoticesTo(show) {
  notice = show;
}

export function complain(text, hint = null) {
  notice(text, hint);
}

/** An order to the daemon. Resolves to whether it was carried out; if not, the reason has been shown. */
export async function post(path, order = {}) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(order),
    });
  } catch {
    complain("The daemon does not answer.", "Nothing was changed.");
    return false;
  }
  if (response.ok) return true;
  if (response.status === 401) return signIn();
  complain(...(await reasonOf(response)));
  return false;
}

/** [text, hint] of an answer that is an error. */
export async function reasonOf(response) {
  try {
    const { error, hint } = await response.json();
    return [error ?? `error ${response.status}`, hint];
  } catch {
    return [`error ${response.status}`, null];
  }
}

function signIn() {
  location.assign("/login");
  return false;
}

/** Follow /events for ever: connects again by itself, also after a silence and after what ends an EventSource. */
export function follow({ onState, onFound, onLost }) {
  let source = null;
  let silence = 0;
  let again = 0;
  let pause = 500;

  function open() {
    source?.close();
    source = new EventSource("/events");
    source.addEventListener("open", () => heard(onFound));
    source.addEventListener("beat", () => heard(onFound));
    source.addEventListener("state", (event) => heard(() => onState(JSON.parse(event.data))));
    source.addEventListener("error", lose);
    listen();
  }

  function listen() {
    clearTimeout(silence);
    silence = setTimeout(lose, SILENCE_MS);
  }

  function heard(tell) {
    pause = 500;
    listen();
    tell();
  }

  function lose() {
    source.close();
    clearTimeout(silence);
    clearTimeout(again);
    onLost();
    again = setTimeout(tryAgain, pause);
    pause = Math.min(pause * 1.6, LONGEST_PAUSE_MS);
  }

  async function tryAgain() {
    // EventSource does not tell why it failed; a missing token would fail for ever.
    try {
      const response = await fetch("/api/state", { method: "HEAD" });
      if (response.status === 401) return signIn();
    } catch {
      return lose();
    }
    return open();
  }

  function rest() {
    source.close();
    clearTimeout(silence);
    clearTimeout(again);
    glance();
  }

  /** Look at the state now and then, for the title of the tab. */
  async function glance() {
    const response = await fetch("/api/state").catch(() => null);
    const state = response?.ok ? await response.json().catch(() => null) : null;
    if (document.visibilityState === "visible") return;
    if (state) onState(state);
    else onLost();
    again = setTimeout(glance, GLANCE_MS);
  }

  // Who comes back to the page, or gets the network back, does not want to wait for the pause to end.
  const hurry = () => {
    if (source.readyState === EventSource.CLOSED && document.visibilityState === "visible") {
      clearTimeout(again);
      tryAgain();
    }
  };
  let hidden = 0;
  const turn = () => {
    clearTimeout(hidden);
    if (document.visibilityState === "visible") hurry();
    else hidden = setTimeout(rest, HIDDEN_MS);
  };
  document.addEventListener("visibilitychange", turn);
  window.addEventListener("online", hurry);
  open();
  turn(); // a tab may be opened in the background
}
