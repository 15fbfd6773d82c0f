// Films dropped onto the page or chosen: one after the other, with progress.

import { complain, reasonOf } from "./connection.js";
import { label, make, say } from "./elements.js";
import { bytes } from "./words.js";

const STAY_MS = 4000; // of a row after its end

export class Uploads {
  constructor(list, veil, button, input) {
    this.list = list;
    this.veil = veil;
    this.waiting = [];
    this.isBusy = false;
    button.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      this.add([...input.files]);
      input.value = ""; // so that the same file can be chosen again
    });
    this.listen();
  }

  listen() {
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    let depth = 0; // enter and leave come for every element on the way
    const show = (change) => {
      depth = Math.max(0, depth + change);
      this.veil.hidden = depth === 0;
    };
    window.addEventListener("dragenter", (event) => hasFiles(event) && show(1));
    window.addEventListener("dragleave", (event) => hasFiles(event) && show(-1));
    window.addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault(); // or the browser would open the film
      event.dataTransfer.dropEffect = "copy";
    });
    window.addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      show(-Infinity);
      this.add(filesOf(event.dataTransfer));
    });
  }

  add(files) {
    for (const file of files) {
      const upload = new Upload(file);
      this.list.append(upload.element);
      this.waiting.push(upload);
    }
    this.work();
  }

  async work() {
    if (this.isBusy) return;
    this.isBusy = true;
    while (this.waiting.length) await this.waiting.shift().run();
    this.isBusy = false;
  }
}

/** The files of a drop; folders cannot be read as files, which is said. */
function filesOf(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const isFolder = (item) => item.webkitGetAsEntry?.()?.isDirectory;
  if (items.some(isFolder)) complain("Folders cannot be dropped here.", "Drop the films inside.");
  return items.filter((item) => !isFolder(item)).map((item) => item.getAsFile()).filter(Boolean);
}

class Upload {
  constructor(file) {
    this.file = file;
    this.element = make("upload");
    this.note = this.element.querySelector(".note");
    this.bar = this.element.querySelector("progress");
    this.isCancelled = false;
    say(this.element.querySelector(".name"), file.name);
    say(this.note, `${bytes(file.size)}, waits`);
    label(this.bar, `Upload of ${file.name}`);
    this.cancel = this.element.querySelector(".cancel");
    label(this.cancel, `Cancel the upload of ${file.name}`);
    this.cancel.addEventListener("click", () => {
      this.isCancelled = true;
      this.request?.abort();
      this.element.remove();
    });
  }

  /** Ask whether it would be taken (an answer amid the body may get lost), then send it. Never rejects. */
  async run() {
    if (this.isCancelled) return;
    try {
      const order = JSON.stringify({ name: this.file.name, size: this.file.size });
      const headers = { "Content-Type": "application/json" };
      const response = await fetch("/api/uploads", { method: "POST", headers, body: order });
      if (!response.ok) throw new Refused(...(await reasonOf(response)));
      await this.send();
      this.bar.value = 1;
      say(this.note, `${bytes(this.file.size)}, taken`);
      setTimeout(() => this.element.remove(), STAY_MS);
    } catch (error) {
      if (!this.isCancelled) this.fail(error);
    }
  }

  fail(error) {
    const [text, hint] = error instanceof Refused ? [error.message, error.hint] : ["the connection was lost", null];
    this.element.classList.add("failed");
    this.bar.hidden = true;
    label(this.cancel, `Close the message about ${this.file.name}`);
    say(this.note, hint ? `${text}; ${hint}` : text);
  }

  /** By XMLHttpRequest, since fetch does not tell how much has been sent. */
  send() {
    return new Promise((resolve, reject) => {
      const request = (this.request = new XMLHttpRequest());
      request.open("PUT", `/api/uploads/${encodeURIComponent(this.file.name)}`);
      request.setRequestHeader("X-VSR", "upload");
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.upload.addEventListener("progress", ({ loaded, total }) => {
        this.bar.value = total ? loaded / total : 0;
        say(this.note, `${bytes(loaded)} of ${bytes(this.file.size)}`);
      });
      request.addEventListener("load", () => {
        if (request.status === 201) resolve();
        else reject(refusalOf(request));
      });
      request.addEventListener("error", () => reject(new Error("lost")));
      request.addEventListener("abort", () => reject(new Error("cancelled")));
      request.send(this.file);
    });
  }
}

class Refused extends Error {
  constructor(text, hint) {
    super(text);
    this.hint = hint;
  }
}

function refusalOf(request) {
  try {
    const { error, hint } = JSON.parse(request.responseText);
    return new Refused(error, hint);
  } catch {
    return new Refused(`error ${request.status}`, null);
  }
}
