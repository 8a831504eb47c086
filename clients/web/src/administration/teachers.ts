/** Shows administrators the teachers, which are the personas of the tutor. */

import type { Teacher } from "@responsa/contract/responsa/admin/v1/teacher_pb.js";
import { wellFormed } from "@responsa/client/parts.js";
import { t } from "../language/administration/texts.js";
import type { Api } from "../server/api.js";
import { nameWithin } from "../text/names.js";
import { valuesOf, valuesProblem } from "../text/values.js";
import { filled } from "../widgets/dialog.js";
import { button, element, field, replace, WRITTEN } from "../widgets/dom.js";
import { actButton, beginButton, edited, ResourceList, tries, type Stage } from "../widgets/resourcelist.js";
import { changedPaths, draftOf, NAME_BYTES, PERSONA_BYTES, textProblem, type Draft } from "./persona.js";

const GLANCE = 160; // the maximum number of a persona's characters that the list shows

export function teachersView(api: Pick<Api, "admin">, say: (text: string) => void) {
  const list = new ResourceList({
    label: t("teachers"),
    heading: "h2",
    about: [t("teachersAbout")],
    add: (stage) => [beginButton(t("newTeacher"), () => create(api, stage))],
    list: (asked) => api.admin.listTeachers({ ...asked, orderBy: "display_name" }),
    items: ({ teachers }) => teachers,
    row: (teacher: Teacher, stage) => {
      const { name, displayName, etag } = teacher;
      const persona = teacher.persona.trim().replace(/\s+/g, " ");
      const ask = { title: t("deleteTeacherTitle"), text: t("deleteTeacherText", { name: nameWithin(displayName) }) };
      return {
        name: displayName,
        facts: [persona.length > GLANCE ? `${persona.slice(0, GLANCE)}…` : persona],
        acts: [
          button(t("edit"), () => void edit(api, stage, teacher), { "aria-label": t("editName", { name: displayName }) }),
          actButton(stage, { label: t("delete"), name: t("deleteName", { name: displayName }), ask, does: () => api.admin.deleteTeacher({ name, etag }), said: t("teacherDeleted") }),
        ],
      };
    },
    empty: t("noTeachers"),
    say,
  });
  const root = element("div", { class: "collections" }, list.root);
  return { root, focus: () => root.querySelector("h2")?.focus(), refresh: list.again };
}

async function create(api: Pick<Api, "admin">, stage: Stage): Promise<void> {
  const fields = new TeacherFields({ displayName: "", persona: "", values: "" });
  const requestId = tries();
  const act = async () => {
    const teacher = taken(fields.draft);
    await api.admin.createTeacher({ teacher, requestId: requestId(teacher) });
  };
  if (!(await filled({ title: t("newTeacher"), action: t("create"), fields: fields.rows, first: fields.first, act }))) return;
  stage.say(t("teacherCreated"));
  await stage.again();
}

async function edit(api: Pick<Api, "admin">, stage: Stage, teacher: Teacher): Promise<void> {
  const { name } = teacher;
  const fields = new TeacherFields(draftOf(teacher));
  let now = teacher;
  const saved = await edited<Teacher>({
    title: t("editName", { name: nameWithin(teacher.displayName) }),
    ...fields,
    save: async () => {
      const paths = changedPaths(draftOf(now), fields.draft);
      if (paths.length > 0) await api.admin.updateTeacher({ teacher: { name, etag: now.etag, ...taken(fields.draft) }, updateMask: { paths } });
    },
    read: () => api.admin.getTeacher({ name }),
    compare: (theirs) => {
      now = theirs;
      fields.compare(draftOf(theirs));
    },
  });
  if (saved) stage.say(t("teacherSaved"));
  await stage.again();
  stage.home.focus();
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
    const optional = element("span", {}, t("furtherValues"), " ", element("span", { class: "note" }, t("optional")));
    this.rows = [field(t("name"), this.#name), field(t("persona"), this.#persona, t("personaNote")), field(optional, this.#values, t("furtherValuesNote")), this.#theirs];
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
    replace(this.#theirs, element("h3", {}, t("asItIsNow")), quote);
    this.#theirs.hidden = false;
  }
}

/** The teacher to send. The form accepts only values that `valuesOf` can read. */
function taken({ displayName, persona, values }: Draft) {
  const read = valuesOf(values);
  return { displayName: wellFormed(displayName.trim()), persona: wellFormed(persona), parameters: typeof read === "string" ? {} : read };
}
