/** The pages of a PDF, drawn by the server as images. The browser never opens the PDF itself. */

import { ChevronLeft, ChevronRight } from "lucide";
import type { PageBox } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import type { Api } from "../server/api.js";
import { button, element, focused, replace } from "../widgets/dom.js";
import { iconButton } from "../widgets/icons.js";
import { failureOf } from "../server/errors.js";
import { cleanName } from "../text/names.js";
import { t } from "../language/documents/texts.js";

/** The widest image that the server draws, in pixels. */
const WIDEST = 2_000;
const NARROWEST = 100;

export class PagesView {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "knowledge">;
  readonly #say: (text: string) => void;
  readonly #turned: () => void;
  readonly #back = iconButton(ChevronLeft, t("previousPage"), () => this.#turn(-1));
  readonly #next = iconButton(ChevronRight, t("nextPage"), () => this.#turn(1));
  readonly #number = element("input", { id: "page-number", type: "number", min: "1", step: "1", inputmode: "numeric", change: () => this.#go(Math.round(this.#number.valueAsNumber)) });
  readonly #of = element("span", { class: "note of" });
  readonly #zoom = button(t("larger"), () => this.#zoomed(), { class: "quiet", "aria-pressed": "false" });
  // A canvas needs no address, so the page's security policy does not have to allow images from elsewhere.
  readonly #canvas = element("canvas", { role: "img" });
  readonly #marks = element("div", { "aria-hidden": "true" });
  readonly #sheet = element("div", { class: "sheet-of-paper" }, this.#canvas, this.#marks);
  readonly #scroller = element("div", { class: "paper", tabindex: "0", role: "region", "aria-label": t("pageOfDocument") }, this.#sheet);
  readonly #problem = element("p", { class: "problem", role: "alert" });
  #name = "";
  #title = "";
  #page = 1;
  #count = 0;
  #cited: { readonly page: number; readonly boxes: readonly PageBox[] } = { page: 0, boxes: [] };
  #signal = AbortSignal.abort();
  #drawing = new AbortController();

  /** `say` announces a text to screen readers. `turned` is called when another page is shown. */
  constructor(api: Pick<Api, "knowledge">, say: (text: string) => void, turned: () => void) {
    this.#api = api;
    this.#say = say;
    this.#turned = turned;
    this.root = element(
      "div",
      { class: "pages" },
      element("div", { class: "row" }, this.#back, element("label", { for: "page-number" }, t("page")), this.#number, this.#of, this.#next, this.#zoom),
      this.#problem,
      this.#scroller,
    );
  }

  /** Show the pages of `documents/{uuid}/versions/{n}`, or of the current version of `documents/{uuid}`. `page`: the page to begin with; 0 for the first one. `boxes`: the parts of that page to mark. The signal aborts when the panel shows something else. */
  async open(name: string, title: string, page: number, boxes: readonly PageBox[], signal: AbortSignal): Promise<void> {
    this.#name = name;
    this.#title = title;
    this.#cited = { page, boxes };
    this.#page = Math.max(page, 1);
    this.#count = 0;
    this.#signal = signal;
    await this.#draw(false);
  }

  /** Forget the shown page. */
  clear(): void {
    this.#drawing.abort();
    this.#canvas.width = this.#canvas.height = 0;
    replace(this.#marks);
    this.#problem.textContent = "";
  }

  #turn(step: number): void {
    this.#go(this.#page + step);
  }

  #go(page: number): void {
    if (Number.isNaN(page)) page = this.#page;
    this.#page = Math.min(Math.max(page, 1), Math.max(this.#count, 1));
    this.#turned();
    void this.#draw();
  }

  #zoomed(): void {
    const large = this.#zoom.getAttribute("aria-pressed") !== "true";
    this.#zoom.setAttribute("aria-pressed", String(large));
    this.#sheet.classList.toggle("large", large);
    void this.#draw();
  }

  async #draw(isAnnounced = true): Promise<void> {
    this.#drawing.abort();
    this.#drawing = new AbortController();
    const signal = AbortSignal.any([this.#signal, this.#drawing.signal]);
    const [name, page] = [this.#name, this.#page];
    this.#number.value = String(page);
    let locator: string;
    try {
      const width = Math.round(Math.min(Math.max(this.#sheet.clientWidth * window.devicePixelRatio, NARROWEST), WIDEST));
      const drawn = await this.#api.knowledge.getDocumentPage({ name, page, width }, { signal });
      const image = await createImageBitmap(new Blob([drawn.image as Uint8Array<ArrayBuffer>], { type: "image/png" }));
      if (signal.aborted) return image.close();
      this.#problem.textContent = "";
      this.#count = drawn.pageCount;
      locator = drawn.locator;
      this.#canvas.width = image.width;
      this.#canvas.height = image.height;
      this.#canvas.getContext("2d")?.drawImage(image, 0, 0);
      image.close();
    } catch (error) {
      if (signal.aborted) return;
      this.clear();
      this.#problem.textContent = failureOf(error).message;
      return;
    }
    const boxes = this.#cited.page === page ? this.#cited.boxes : [];
    const count = this.#count;
    const label = locator ? `${locator} (${page})` : page;
    this.#canvas.setAttribute("aria-label", `${t("pageOfTitle", { page: label, count, title: cleanName(this.#title) })}${boxes.length > 0 ? t("pageMarked") : ""}`);
    this.#of.textContent = t("ofCount", { count }) + (locator && ` · ${t("pageNumber", { number: locator })}`);
    this.#number.max = String(this.#count);
    const held = focused();
    this.#back.disabled = page <= 1;
    this.#next.disabled = page >= this.#count;
    if (held === this.#back && this.#back.disabled) this.#next.focus();
    if (held === this.#next && this.#next.disabled) this.#back.focus();
    this.#mark(boxes);
    if (isAnnounced) this.#say(t("pageOf", { page: label, count }));
  }

  /** The number of the shown page, counted from 1. */
  get page(): number {
    return this.#page;
  }

  #mark(boxes: readonly PageBox[]): void {
    const marks = boxes.map(({ left, top, right, bottom }) => {
      const mark = element("div", { class: "cited-box" });
      Object.assign(mark.style, { left: `${left / 10}%`, top: `${top / 10}%`, width: `${(right - left) / 10}%`, height: `${(bottom - top) / 10}%` });
      return mark;
    });
    replace(this.#marks, ...marks);
    if (marks.length === 0) this.#scroller.scrollTop = 0;
    marks[0]?.scrollIntoView({ block: marks.length > 1 ? "start" : "center", inline: "nearest" });
  }
}
