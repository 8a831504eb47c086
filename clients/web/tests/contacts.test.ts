import { describe, expect, it } from "vitest";
import { meant } from "../src/documents/contacts.js";

describe("a text that names a person", () => {
  const contacts = [
    { name: "users/1", label: "Ada", email: "ada@example.org" },
    { name: "users/2", label: "Bob", email: "" },
    { name: "users/3", label: "Bob", email: "bob@example.org" },
  ];

  it("means the user with that name, address or unique display name, and otherwise stays as it was typed", () => {
    expect(meant(" ADA@example.org ", contacts)).toBe("users/1");
    expect(meant("ada", contacts)).toBe("users/1");
    expect(meant("users/2", contacts)).toBe("users/2");
    expect(meant("Bob", contacts)).toBe("Bob");
    expect(meant("carl@example.org", contacts)).toBe("carl@example.org");
    expect(meant("ada@example.or", contacts)).toBe("ada@example.or");
  });
});
