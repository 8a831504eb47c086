import { create } from "@bufbuild/protobuf";
import { UserSchema } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { CollectionKind } from "@responsa/contract/responsa/type/v1/collection_kind_pb.js";
import { describe, expect, it } from "vitest";
import { callName, plainName } from "../src/server/people.js";
import { labelsOf } from "../src/documents/access.js";
import { meant } from "../src/documents/contacts.js";
import { labelOf } from "../src/documents/library.js";
import { cleanLabel, cleanName, cleanText, nameWithin } from "../src/text/names.js";

const HOSTILE = "Eve\u202egnp.\u2066\n\u0007";
const CLEAN = "Eve\ufffdgnp.\ufffd\ufffd\ufffd";
const MUHAMMAD = "محمد";

describe("names that people wrote", () => {
  it("have no characters that reorder letters or break the line", () => {
    expect(cleanName(HOSTILE)).toBe(CLEAN);
    expect(nameWithin(HOSTILE)).toBe(CLEAN);
    for (const name of ["Ada Lovelace", "Brunmåla", "山田\u200d", "م\u200eحمد"]) expect(cleanName(name)).toBe(name);
  });

  it("reorder no letters of a text that contains them, whose lines stay", () => {
    expect(cleanText(`“${HOSTILE}” is deleted.`)).toBe("“Eve\ufffdgnp.\ufffd\n\u0007” is deleted.");
    expect(cleanText(`\u2068${MUHAMMAD}\u2069`)).toBe(`\u2068${MUHAMMAD}\u2069`);
  });

  it("are isolated within other text if they are written from right to left", () => {
    expect(nameWithin("Ada")).toBe("Ada");
    expect(nameWithin(MUHAMMAD)).toBe(`\u2068${MUHAMMAD}\u2069`);
  });

  it("are shown like this for users, readers and owners", async () => {
    const eve = create(UserSchema, { name: "users/eve", displayName: HOSTILE });
    expect([callName(eve), plainName(eve)]).toEqual([CLEAN, CLEAN]);
    const other = create(UserSchema, { name: "users/m", displayName: ` ${MUHAMMAD} ` });
    expect([callName(other), plainName(other)]).toEqual([`\u2068${MUHAMMAD}\u2069`, MUHAMMAD]);
    const owned = { owner: "users/eve", ownerDisplayName: HOSTILE, readers: [], readable: true, manageable: true };
    expect([...(await labelsOf(owned, { labels: () => Promise.resolve(new Map()) }))]).toEqual([["users/eve", CLEAN]]);
    const shared = { name: "collections/hr-546c9a19", displayName: "", chosenId: "hr", ownerDisplayName: MUHAMMAD, kind: CollectionKind.OWN, conversation: "" };
    expect(labelOf(shared)).toBe(`hr (of \u2068${MUHAMMAD}\u2069)`);
    expect(labelOf({ ...shared, displayName: HOSTILE })).toBe(CLEAN);
  });

  it("stand for a person as they were typed", () => {
    expect(meant(MUHAMMAD, [{ name: "users/m", label: plainName(create(UserSchema, { displayName: MUHAMMAD })), email: "" }])).toBe("users/m");
  });
});

describe("labels", () => {
  it("keep the characters that isolate a name, and lose those that reorder the rest", () => {
    expect(cleanLabel(`Delete ${nameWithin(MUHAMMAD)}`)).toBe(`Delete \u2068${MUHAMMAD}\u2069`);
    expect(cleanLabel("Delete a\u202egnp.exe\n")).toBe("Delete a\ufffdgnp.exe\ufffd");
  });
});
