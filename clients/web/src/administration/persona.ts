/** The content of a teacher's form, and its validation. Nothing here touches the page. */

import type { Teacher } from "@responsa/contract/responsa/admin/v1/teacher_pb.js";
import { t } from "../language/administration/texts.js";
import { byteLength } from "@responsa/client/parts.js";
import { linesOf, valuesOf } from "../text/values.js";

export const NAME_BYTES = 200;
export const PERSONA_BYTES = 8_192;

/** A teacher as the user typed it. */
export interface Draft {
  readonly displayName: string;
  readonly persona: string;
  /** Further values, one per line: `subject: biology`. */
  readonly values: string;
}

/** Why a text is not valid; "" if it is valid. */
export function textProblem(text: string, most: number): string {
  if (!text.trim()) return t("enterText");
  const over = byteLength(text) - most;
  return over > 0 ? t("tooLong", { count: over, limit: most }) : "";
}

export function draftOf({ displayName, persona, parameters }: Pick<Teacher, "displayName" | "persona" | "parameters">): Draft {
  return { displayName, persona, values: linesOf(parameters) };
}

/** The fields that differ, as paths of an update mask. */
export function changedPaths(before: Draft, after: Draft): string[] {
  const paths: string[] = [];
  if (before.displayName !== after.displayName) paths.push("display_name");
  if (before.persona !== after.persona) paths.push("persona");
  if (JSON.stringify(valuesOf(before.values)) !== JSON.stringify(valuesOf(after.values))) paths.push("parameters");
  return paths;
}
