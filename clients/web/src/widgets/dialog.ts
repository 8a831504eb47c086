/** Small questions to the user. The browser's modal dialogs trap the focus, close on Escape and return the focus. */

import { failureOf, type Failure } from "../server/errors.js";
import { button, coded, element, replace } from "./dom.js";
import { t } from "../language/language.js";

let numbers = 0;

export interface Confirmation {
  readonly title: string;
  readonly text: string;
  /** The label of the confirming button. */
  readonly action: string;
  /** The label of the other button. */
  readonly cancel?: string;
}

/** Ask the user to confirm an action. Resolves to whether the user confirmed. */
export function confirmed({ title, text, action, cancel }: Confirmation): Promise<boolean> {
  return new Promise((resolve) => {
    const yes = button(action, () => close(true), { class: "danger filled" });
    const { dialog, close } = open<boolean>(title, false, resolve, [element("p", {}, text)], yes, cancel);
    dialog.showModal();
    dialog.querySelector<HTMLElement>(".cancel")?.focus(); // the safe choice
  });
}

export interface Question {
  readonly title: string;
  readonly label: string;
  readonly value: string;
  readonly maxLength: number;
  readonly action: string;
  /** A line below the field, computed from the field's value. */
  readonly note?: (value: string) => string;
  /** Performs the action. If the action raises an error, the dialog stays open and shows the error. */
  readonly act: (value: string) => Promise<void>;
}

/** Ask for a line of text and act on it. Resolves to true after the action, and to false if the user cancelled. */
export function prompted({ title, label, value, maxLength, action, note, act }: Question): Promise<boolean> {
  const control = element("input", { id: `field-${(numbers += 1)}`, type: "text", maxlength: String(maxLength), autocomplete: "off", dir: "auto" });
  const hint = element("p", { class: "note", id: `${control.id}-note` });
  control.setAttribute("aria-describedby", hint.id);
  control.value = value;
  const noted = () => (hint.textContent = note?.(control.value) ?? "");
  control.addEventListener("input", noted);
  noted();
  const save = async () => {
    const wanted = control.value.trim();
    if (wanted) return act(wanted);
    control.focus();
    return false;
  };
  const done = filled({ title, action, fields: [element("label", { for: control.id }, label), control, hint], first: control, act: save });
  control.select();
  return done;
}

export interface Sheet {
  readonly title: string;
  readonly action: string;
  /** Whether the action cannot be undone. */
  readonly danger?: boolean;
  /** The controls, with their labels. */
  readonly fields: readonly HTMLElement[];
  /** The control that gets the focus first. */
  readonly first: HTMLElement;
  /** Performs the action. If the action raises an error, the dialog stays open. It shows the text that `explain` returns, or the error's own message if `explain` returns undefined. With "", `explain` has shown the error itself, for example at a field. `act` returns false if it has done nothing, because a field shows a problem. */
  readonly act: () => Promise<void | false>;
  readonly explain?: (failure: Failure) => Promise<string | undefined>;
}

/** Show a form of several fields, which the browser checks before `act`. Resolves to true after the action, and to false if the user cancelled. */
export function filled({ title, action, danger = false, fields, first, act, explain }: Sheet): Promise<boolean> {
  return new Promise((resolve) => {
    const problem = element("p", { class: "problem", role: "alert" });
    const yes = element("button", { type: "submit", class: danger && "danger filled" }, action);
    const form = element("form", { class: "sheet" }, ...fields, problem);
    const { dialog, close } = open<boolean>(title, false, resolve, [form], yes);
    form.append(dialog.lastElementChild!); // the last element contains the buttons
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void save();
    });
    let saving = false;
    const save = async () => {
      if (saving) return;
      saving = true; // a disabled button would lose the focus
      problem.textContent = "";
      try {
        if ((await act()) !== false) close(true);
      } catch (error) {
        const failure = failureOf(error);
        replace(problem, ...coded((await explain?.(failure)) ?? failure.message));
        if (problem.textContent) dialog.scrollTop = dialog.scrollHeight; // the problem is shown at the end of the dialog
      } finally {
        saving = false;
      }
    };
    dialog.classList.add("wide");
    dialog.showModal();
    first.focus();
  });
}

/** Show a text with a single button that closes the dialog. Resolves when the dialog is closed. */
export function shown(title: string, action: string, body: readonly Node[], first: HTMLElement): Promise<void> {
  return new Promise((resolve) => {
    const { dialog, close } = open<undefined>(title, undefined, () => resolve(), body, button(action, () => close(undefined), { class: "quiet" }));
    dialog.querySelector(".cancel")?.remove();
    dialog.classList.add("wide");
    dialog.showModal();
    first.focus();
  });
}

function open<T>(title: string, otherwise: T, resolve: (value: T) => void, body: readonly Node[], yes: HTMLButtonElement, cancel = t("cancel")) {
  const id = `dialog-${(numbers += 1)}`;
  let outcome = otherwise;
  const dialog = element("dialog", { "aria-labelledby": id });
  const close = (value: T) => {
    outcome = value;
    dialog.close();
  };
  dialog.append(
    element("h2", { id, dir: "auto" }, title),
    ...body,
    element("div", { class: "row end" }, button(cancel, () => dialog.close(), { class: "cancel quiet" }), yes),
  );
  const gone = new AbortController();
  window.addEventListener("popstate", () => dialog.close(), { signal: gone.signal }); // Back shows another view, to which the dialog does not belong
  dialog.addEventListener("close", () => {
    gone.abort();
    dialog.remove();
    resolve(outcome);
  });
  document.body.append(dialog);
  return { dialog, close };
}
