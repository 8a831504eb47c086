/** The steps of an answer, listed below a line that sums them up. */

import { element } from "../widgets/dom.js";
import { t } from "../language/language.js";
import { lapse } from "../text/facts.js";

const SECOND = 1_000; // milliseconds

/** The view is one line high from the beginning. */
export class StepsView {
  readonly root = element("details", { class: "steps" });
  readonly #summary = element("summary", {});
  readonly #list = element("ol", {});
  #last: { readonly at: number; readonly row: HTMLElement } | undefined;
  #now = "";
  #counting = 0;

  constructor() {
    this.root.append(this.#summary, this.#list);
    this.busy(t("sendingQuestion"));
  }

  /** Show an activity that is not a step of the turn. */
  busy(text: string): void {
    window.clearInterval(this.#counting);
    this.root.classList.add("busy");
    this.#summary.textContent = this.#now = text;
  }

  /** Show why the turn waits, until `resume`. `wait`: the milliseconds that it waits, which count down. */
  pause(text: string, wait = 0): void {
    window.clearInterval(this.#counting);
    const end = performance.now() + wait;
    const tell = () => {
      const left = Math.ceil((end - performance.now()) / 1000);
      this.#summary.textContent = left > 0 ? t("countdown", { text, seconds: left }) : wait > 0 ? `${text}…` : text;
      if (left <= 0 || !this.root.isConnected) window.clearInterval(this.#counting);
    };
    this.#counting = window.setInterval(tell, SECOND);
    tell();
  }

  resume(): void {
    window.clearInterval(this.#counting);
    if (this.#summary.textContent !== this.#now) this.#summary.textContent = this.#now;
  }

  /** Show a step of the turn that began at the time `at`, in milliseconds. Returns the row of the step. */
  step(text: string, at: number): HTMLElement {
    this.#end(at);
    this.busy(text);
    const row = element("li", {}, text);
    this.#last = { at, row };
    this.#list.append(row);
    return row;
  }

  /** Show an event that is not a step. */
  note(text: string): void {
    this.add(element("li", {}, text));
  }

  /** Show an event that is not a step in a row of its kind. */
  add(row: HTMLElement): void {
    this.#list.append(row);
  }

  done(summary: string, at: number): void {
    this.#end(at);
    window.clearInterval(this.#counting);
    this.root.classList.remove("busy");
    this.#summary.textContent = this.#now = summary;
  }

  #end(at: number): void {
    this.#last?.row.append(" ", element("span", { class: "note" }, lapse(at - this.#last.at)));
    this.#last = undefined;
  }
}
