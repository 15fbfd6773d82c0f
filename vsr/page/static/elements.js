// Elements out of the templates of index.html, and lists of them that follow lists of facts.

/** A copy of a template's element. */
export function make(name) {
  return document.getElementById(`${name}-template`).content.firstElementChild.cloneNode(true);
}

// They turn the reading direction: "gpj.exe" would be read as "exe.jpg".
const TURNS = /[\u202a-\u202e\u2066-\u2069]/g;

/** Set the text; untouched where it is the same, so that what somebody selects or hears stays. */
export function say(element, text) {
  const shown = text.replace(TURNS, "\ufffd");
  if (element.textContent !== shown) element.textContent = shown;
}

/** Set the text and hide the element where there is none. */
export function sayIf(element, text) {
  say(element, text ?? "");
  hide(element, !text);
}

/** Set an attribute; untouched where it is the same: a page of long lists is shown anew four times in a second. */
export function put(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Hide or show; untouched where it is so already. */
export function hide(element, isHidden) {
  if (element.hidden !== isHidden) element.hidden = isHidden;
}

/** A button without text gets its name, for those who hear it and those who point at it. */
export function label(button, text) {
  put(button, "aria-label", text);
  put(button, "title", text);
}

/** Elements by key: those that stay are kept (with focus and scroll), new ones come, others go. */
export class Keyed {
  constructor(parent, create) {
    this.parent = parent;
    this.create = create;
    this.views = new Map();
  }

  /** `facts` in order; `view.show(fact, index)` is called for each. Views have an `element`. */
  show(facts, keyOf) {
    const focused = document.activeElement;
    const keys = new Set(facts.map(keyOf));
    for (const [key, view] of this.views) {
      if (keys.has(key)) continue;
      view.element.remove();
      view.close?.();
      this.views.delete(key);
    }
    facts.forEach((fact, index) => {
      const key = keyOf(fact);
      if (!this.views.has(key)) this.views.set(key, this.create(fact));
      const view = this.views.get(key);
      view.show(fact, index);
      const here = this.parent.children[index];
      if (here !== view.element) this.parent.insertBefore(view.element, here ?? null);
    });
    // An element that is moved in the document loses its focus.
    if (focused !== document.activeElement && this.parent.contains(focused)) focused.focus({ preventScroll: true });
  }
}
