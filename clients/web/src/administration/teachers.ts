/** Shows administrators the teachers, which are the personas of the tutor. */

import type { Teacher } from "@responsa/contract/responsa/admin/v1/teacher_pb.js";
import type { Api } from "../server/api.js";
import { uuid, wellFormed } from "@responsa/client/parts.js";
import { confirmed, filled } from "../widgets/dialog.js";
import { button, element, field, replace, WRITTEN } from "../widgets/dom.js";
import { failureOf, type Failure } from "../server/errors.js";
import { changedPaths, draftOf, NAME_BYTES, PERSONA_BYTES, textProblem, type Draft } from "./persona.js";
import { valuesOf, valuesProblem } from "../text/values.js";
import { nameWithin } from "../text/names.js";

const PAGE = 50;
const GLANCE = 160; // the maximum number of a persona's characters that the list shows

export class TeachersView {
  readonly root = element("section", { class: "collections teachers", "aria-labelledby": "teachers-title" });
  readonly #api: Pick<Api, "admin">;
  readonly #say: (text: string) => void;
  readonly #heading = element("h2", { id: "teachers-title", tabindex: "-1" }, "Teachers");
  readonly #list = element("ul", { class: "documents", "aria-label": "Teachers" });
  readonly #more = button("Show more", () => void this.#further(), { hidden: true });
  readonly #problem = element("p", { class: "problem", role: "alert" });
  #refreshes = 0;
  #next = "";

  constructor(api: Pick<Api, "admin">, say: (text: string) => void) {
    this.#api = api;
    this.#say = say;
    this.root.append(
      this.#heading,
      element(
        "div",
        { class: "row wrap" },
        element("p", { class: "note grow" }, "The personas of the tutor. Users of the tutor choose one of them."),
        button("New teacher", () => void this.#create(), { class: "quiet" }),
      ),
      this.#problem,
      this.#list,
      this.#more,
    );
  }

  focus(): void {
    this.#heading.focus();
  }

  /** Read the teachers again. */
  async refresh(): Promise<void> {
    const refresh = (this.#refreshes += 1);
    try {
      const page = await this.#api.admin.listTeachers({ pageSize: PAGE, orderBy: "display_name" });
      if (refresh !== this.#refreshes) return; // a later call will show the newer result
      this.#next = page.nextPageToken;
      this.#more.hidden = !this.#next;
      const rows = page.teachers.map((one) => this.#row(one));
      replace(this.#list, ...(rows.length > 0 ? rows : [element("li", { class: "note" }, "No teachers yet. The tutor needs at least one teacher.")]));
      this.#problem.textContent = "";
    } catch (error) {
      if (refresh === this.#refreshes) this.#problem.textContent = failureOf(error).message;
    }
  }

  async #further(): Promise<void> {
    const refresh = this.#refreshes;
    try {
      const page = await this.#api.admin.listTeachers({ pageSize: PAGE, orderBy: "display_name", pageToken: this.#next });
      if (refresh !== this.#refreshes) return;
      this.#next = page.nextPageToken;
      const rows = page.teachers.map((one) => this.#row(one));
      this.#list.append(...rows);
      rows[0]?.querySelector("button")?.focus();
      this.#more.hidden = !this.#next;
    } catch (error) {
      this.#problem.textContent = failureOf(error).message;
    }
  }

  #row(one: Teacher): HTMLElement {
    const persona = one.persona.trim().replace(/\s+/g, " ");
    const glance = persona.length > GLANCE ? `${persona.slice(0, GLANCE)}…` : persona;
    return element(
      "li",
      {},
      element("div", { class: "about" }, element("span", { class: "name", ...WRITTEN }, one.displayName), element("p", { class: "note whole", ...WRITTEN }, glance)),
      button("Edit", () => void this.#edit(one), { "aria-label": `Edit ${one.displayName}` }),
      button("Delete", () => void this.#delete(one), { class: "plain danger", "aria-label": `Delete ${one.displayName}` }),
    );
  }

  async #create(): Promise<void> {
    const fields = new TeacherFields({ displayName: "", persona: "", values: "" });
    // The request_id is the same for every try with the same content, because an interrupted try may have created the teacher.
    let tried = { body: "", requestId: "" };
    const act = async () => {
      const teacher = taken(fields.draft);
      const body = JSON.stringify(teacher);
      if (body !== tried.body) tried = { body, requestId: uuid() };
      await this.#api.admin.createTeacher({ teacher, requestId: tried.requestId });
    };
    if (!(await filled({ title: "New teacher", action: "Create", fields: fields.rows, first: fields.first, act }))) return;
    await this.#done("Teacher created.");
  }

  async #edit(one: Teacher): Promise<void> {
    const { name } = one;
    const fields = new TeacherFields(draftOf(one));
    let { etag } = one;
    let before = draftOf(one);
    const act = async () => {
      const paths = changedPaths(before, fields.draft);
      if (paths.length > 0) await this.#api.admin.updateTeacher({ teacher: { name, etag, ...taken(fields.draft) }, updateMask: { paths } });
    };
    const explain = async (failure: Failure) => {
      if (failure.reason === "TEACHER_NOT_FOUND" || failure.reason === "RESOURCE_NOT_FOUND") return "Somebody else has deleted this teacher meanwhile.";
      if (failure.reason !== "ETAG_MISMATCH") return undefined;
      try {
        const theirs = await this.#api.admin.getTeacher({ name });
        ({ etag } = theirs);
        before = draftOf(theirs);
        fields.compare(before);
      } catch (error) {
        return failureOf(error).message;
      }
      return "Somebody else changed this teacher meanwhile, and your changes are not saved yet. Save again to replace their changes with yours, or cancel to keep theirs.";
    };
    const done = await filled({ title: `Edit ${nameWithin(one.displayName)}`, action: "Save", fields: fields.rows, first: fields.first, act, explain });
    if (done) await this.#done("Teacher saved.");
    else await this.refresh();
  }

  async #delete({ name, displayName, etag }: Teacher): Promise<void> {
    const text = `“${nameWithin(displayName)}” will be deleted, and users can no longer choose this teacher. Earlier answers stay.`;
    if (!(await confirmed({ title: "Delete the teacher?", text, action: "Delete" }))) return;
    try {
      await this.#api.admin.deleteTeacher({ name, etag });
    } catch (error) {
      const failure = failureOf(error);
      await this.refresh();
      const changed = failure.reason === "ETAG_MISMATCH";
      this.#problem.textContent = changed ? `Somebody else changed “${nameWithin(displayName)}” meanwhile, so it is not deleted. Check the change, then delete again.` : failure.message;
      return;
    }
    await this.#done("Teacher deleted.");
  }

  async #done(said: string): Promise<void> {
    this.#say(said);
    await this.refresh();
    this.focus();
  }
}

/** The controls of a teacher's dialog. */
class TeacherFields {
  readonly rows: readonly HTMLElement[];
  readonly first: HTMLElement;
  readonly #name = element("input", { id: "teacher-name", type: "text", required: true, autocomplete: "off", ...WRITTEN });
  readonly #persona = element("textarea", { id: "teacher-persona", rows: "8", required: true, "aria-describedby": "teacher-persona-note", ...WRITTEN });
  readonly #values = element("textarea", { id: "teacher-values", rows: "3", "aria-describedby": "teacher-values-note", ...WRITTEN });
  readonly #theirs = element("div", { class: "theirs", hidden: true });

  constructor(draft: Draft) {
    this.#name.value = draft.displayName;
    this.#persona.value = draft.persona;
    this.#values.value = draft.values;
    this.first = this.#name;
    const optional = element("span", {}, "Further values ", element("span", { class: "note" }, "(optional)"));
    this.rows = [
      field("Name", this.#name),
      field("Persona", this.#persona, "How this teacher speaks and teaches, addressed to a model: “You teach …”. At most 8 KiB."),
      field(optional, this.#values, "Values for prompts, one per line: “subject: biology”."),
      this.#theirs,
    ];
    const checks: readonly (readonly [HTMLInputElement | HTMLTextAreaElement, (text: string) => string])[] = [
      [this.#name, (text) => textProblem(text, NAME_BYTES)],
      [this.#persona, (text) => textProblem(text, PERSONA_BYTES)],
      [this.#values, valuesProblem],
    ];
    for (const [control, problem] of checks) {
      const check = () => control.setCustomValidity(problem(control.value));
      check();
      control.addEventListener("input", check);
    }
  }

  get draft(): Draft {
    return { displayName: this.#name.value, persona: this.#persona.value, values: this.#values.value };
  }

  /** Show the teacher with the changes that somebody else has made meanwhile. */
  compare(theirs: Draft): void {
    const quote = element("blockquote", WRITTEN, [theirs.displayName, theirs.persona.trim(), theirs.values].filter(Boolean).join("\n\n"));
    replace(this.#theirs, element("h3", {}, "As it is now"), quote);
    this.#theirs.hidden = false;
  }
}

/** The teacher to send. The form accepts only values that `valuesOf` can read. */
function taken({ displayName, persona, values }: Draft) {
  const read = valuesOf(values);
  return { displayName: wellFormed(displayName.trim()), persona: wellFormed(persona), parameters: typeof read === "string" ? {} : read };
}
