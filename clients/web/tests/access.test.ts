import { create } from "@bufbuild/protobuf";
import { UserRole } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { ReaderSchema, type Reader } from "@responsa/contract/responsa/knowledge/v1/reader_pb.js";
import { describe, expect, it } from "vitest";
import { accessText, labelsOf, readersText, sharingMark, type Access, type Me } from "../src/documents/access.js";

const ADA: Me = { name: "users/ada", role: UserRole.USER };
const BOB: Me = { name: "users/bob", role: UserRole.USER };
const ROOT: Me = { name: "users/root", role: UserRole.ADMIN };
const LABELS = new Map([["users/ada", "Ada"], ["users/bob", "Bob"]]);

const person = (value: string) => create(ReaderSchema, { who: { case: "user", value } });
const role = (value: UserRole) => create(ReaderSchema, { who: { case: "role", value } });
const group = create(ReaderSchema, { who: { case: "group", value: "groups/s" }, displayName: "Sales" });
const everyone = create(ReaderSchema, { who: { case: "everyone", value: true } });
const of = (...readers: Reader[]): Access => ({ owner: "users/ada", ownerDisplayName: "", readers, readable: true, manageable: true });
const asReader: Access = { ...of(), manageable: false };

describe("the people who read a collection", () => {
  it("are named as far as the page knows them", () => {
    expect(readersText([], LABELS)).toBe("");
    expect(readersText([person("users/bob"), role(UserRole.ADMIN)], LABELS)).toBe("all administrators and Bob");
    expect(readersText([person("users/bob"), person("users/x")], LABELS)).toBe("2 other people");
    expect(readersText([group, person("users/bob"), role(UserRole.ADMIN)], LABELS)).toBe("all administrators, Sales and Bob");
    expect(readersText([person("users/x")], LABELS)).toBe("one other person");
    expect(readersText([person("users/bob"), everyone], LABELS)).toBe("everyone in your organisation");
  });

  it("have the names that they gave themselves before those that the page knows", async () => {
    const carl = create(ReaderSchema, { who: { case: "user", value: "users/carl" }, displayName: "Carl" });
    const known = { labels: () => Promise.resolve(new Map([["users/carl", "carl@example.org"], ["users/ada", "ada"]])) };
    expect([...(await labelsOf({ ...of(carl, person("users/bob")), ownerDisplayName: "Ada Lovelace" }, known))]).toEqual([["users/carl", "Carl"], ["users/ada", "Ada Lovelace"]]);
  });

  it("are said to the owner, to readers, and to administrators who manage without reading", () => {
    expect(accessText(ADA, of(), LABELS)).toBe("Only you can read these documents.");
    expect(accessText(ADA, { ...of(), owner: "" }, LABELS)).toBe("Only you can read these documents.");
    expect(accessText(ADA, of(person("users/bob")), LABELS)).toBe("You and Bob can read these documents.");
    expect(accessText(ADA, of(person("users/bob"), role(UserRole.ADMIN)), LABELS)).toBe("You, all administrators and Bob can read these documents.");
    expect(accessText(ADA, of(everyone), LABELS)).toBe("Everyone in your organisation can read these documents.");
    expect(accessText(BOB, asReader, LABELS)).toBe("Shared with you by Ada. You can search and read it; only its owner and administrators can add, change and delete documents.");
    expect(accessText(BOB, asReader, new Map())).toContain("Shared with you by another person.");
    expect(accessText(ROOT, { ...of(), readable: false }, LABELS)).toContain("This collection belongs to Ada. Only its owner can read it. You manage it as an administrator.");
    expect(accessText(ROOT, of(role(UserRole.ADMIN)), LABELS)).toBe("This collection belongs to Ada. All administrators can read these documents.");
  });

  it("are marked in a list", () => {
    const marks = [sharingMark(ADA, of(everyone)), sharingMark(BOB, asReader), sharingMark(ROOT, { ...of(), readable: false }), sharingMark(ADA, of())];
    expect(marks).toEqual(["shared", "shared with you", "another person’s", ""]);
  });
});
