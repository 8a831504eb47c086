/** Shows administrators the groups of the tenant, and makes, renames and deletes them. A dialog changes who is in a group. */

import type { Group, GroupMember } from "@responsa/contract/responsa/admin/v1/group_pb.js";
import type { Invitation } from "@responsa/contract/responsa/auth/v1/invitation_pb.js";
import { wellFormed } from "@responsa/client/parts.js";
import { t as personText } from "../language/account/texts.js";
import { t } from "../language/administration/texts.js";
import type { Api } from "../server/api.js";
import { allItems } from "../server/pages.js";
import { failureOf, withWait } from "../server/errors.js";
import { oneOf, plainName, usersWith } from "../server/people.js";
import { nameWithin } from "../text/names.js";
import { filled, prompted, shown } from "../widgets/dialog.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { Entry, placed, textEntry, type Choice } from "../widgets/fields.js";
import { PersonField } from "../widgets/person.js";
import { actButton, beginButton, ResourceList, tries, type Stage } from "../widgets/resourcelist.js";

const NAME_LENGTH = 200; // the maximum number of a name's bytes
const MEMBERS = 200; // the maximum number of members that the dialog lists
const ADDED = 15; // the maximum number of addresses in a filter

/** The groups with their names. Raises ConnectError. */
export async function groupChoices(api: Pick<Api, "admin">): Promise<Choice[]> {
  const groups = await allItems(async (pageToken) => {
    const found = await api.admin.listGroups({ pageSize: 200, pageToken, orderBy: "display_name" });
    return { items: found.groups, next: found.nextPageToken };
  });
  return groups.map(({ name, displayName }) => [name, nameWithin(displayName)]);
}

/** `deleted`: a group is gone, which invitations may name. */
export function groupsList(api: Pick<Api, "admin" | "auth">, say: (text: string) => void, deleted: () => void) {
  return new ResourceList({
    label: t("groups"),
    heading: "h3",
    about: [t("groupsAbout")],
    add: (stage) => [beginButton(t("newGroup"), () => create(api, stage))],
    list: (asked) => api.admin.listGroups({ ...asked, orderBy: "display_name" }),
    items: ({ groups }) => groups,
    row: (group: Group, stage) => {
      const { name, displayName, memberCount, etag } = group;
      const called = nameWithin(displayName);
      return {
        name: displayName,
        facts: [t("memberCount", { count: memberCount })],
        acts: [
          button(t("members"), () => void changeMembers(api, stage, group), { class: "plain", "aria-label": t("membersOf", { name: called }) }),
          button(t("edit"), () => void edit(api, stage, group), { class: "plain", "aria-label": t("editName", { name: displayName }) }),
          actButton(stage, { label: t("delete"), name: t("deleteName", { name: displayName }), ask: { title: t("deleteGroupTitle"), text: t("deleteGroupText", { name: called }) }, does: () => api.admin.deleteGroup({ name, etag }), said: t("groupDeleted"), after: deleted }),
        ],
      };
    },
    empty: t("noGroups"),
    say,
  });
}

async function create(api: Pick<Api, "admin">, stage: Stage): Promise<void> {
  const requestId = tries();
  const act = async (text: string) => {
    const group = { displayName: wellFormed(text) };
    await api.admin.createGroup({ group, requestId: requestId(group) });
  };
  if (!(await prompted({ title: t("newGroup"), label: t("name"), value: "", maxLength: NAME_LENGTH, action: t("create"), act }))) return;
  stage.say(t("groupCreated"));
  await stage.again();
}

/** Change the name of a group, and the groups of sign-in providers whose people are in it: a line with issuer and value for each. */
async function edit(api: Pick<Api, "admin">, stage: Stage, { name, displayName, etag, providerGroups }: Group): Promise<void> {
  const called = textEntry(t("name"), { required: true });
  const mapped = new Entry(t("providerGroups"), element("textarea", { rows: "2", spellcheck: "false", autocapitalize: "none", ...WRITTEN }), t("providerGroupsNote"));
  called.control.value = displayName;
  mapped.control.value = providerGroups.map(({ issuer, value }) => `${issuer} ${value}`).join("\n");
  const act = async () => {
    const lines = mapped.control.value.split("\n").filter((line) => line.trim());
    const pairs = lines.map((line) => /^\s*(\S+)\s+(.*\S)\s*$/.exec(line));
    if (pairs.includes(null)) {
      mapped.refuse(t("providerGroupsWrong"));
      mapped.control.focus();
      return false;
    }
    const group = { name, etag, displayName: wellFormed(called.control.value.trim()), providerGroups: pairs.map((pair) => ({ issuer: pair![1]!, value: wellFormed(pair![2]!) })) };
    await api.admin.updateGroup({ group, updateMask: { paths: ["display_name", "provider_groups"] } });
    return undefined;
  };
  await filled({ title: t("editName", { name: nameWithin(displayName) }), action: t("save"), fields: [called.root, mapped.root], first: called.control, act, explain: (failure) => Promise.resolve(placed({ "group.display_name": called }, failure)) });
  await stage.again();
  stage.home.focus();
}

async function changeMembers(api: Pick<Api, "admin" | "auth">, stage: Stage, { name, displayName }: Group): Promise<void> {
  const person = new PersonField(t("addMember"), usersWith(api, "state = ACTIVE"), t("addMemberNote"));
  person.control.maxLength = 4000; // of a list of addresses
  const list = element("ul", { class: "documents people", "aria-label": t("members") });
  const problem = element("p", { class: "problem", role: "alert" });
  const paint = async () => {
    const [{ groupMembers, nextPageToken }, { invitations }] = await Promise.all([api.admin.listGroupMembers({ parent: name, pageSize: MEMBERS }), api.auth.listInvitations({ pageSize: MEMBERS })]);
    const invited = invitations.filter(({ groups }) => groups.includes(name));
    replace(list, ...groupMembers.map(row), ...invited.map(invitedRow), ...(nextPageToken ? [element("li", { class: "note" }, t("moreMembers", { count: MEMBERS }))] : []));
    list.hidden = groupMembers.length + invited.length === 0;
  };
  const perform = async (act: () => Promise<unknown>) => {
    problem.textContent = "";
    try {
      await act();
      await paint();
    } catch (error) {
      problem.textContent = withWait(failureOf(error));
    }
    person.control.focus();
  };
  const row = (member: GroupMember) => {
    const { user, email, issuers } = member;
    const label = plainName({ ...member, name: user });
    const remove = button(t("remove"), () => void perform(() => api.admin.removeGroupMembers({ name, users: [user] })), { class: "plain danger", "aria-label": t("removeName", { name: label }) });
    return element("li", {}, element("span", { class: "about", title: email, ...WRITTEN }, label), ...(issuers.length > 0 ? [element("span", { class: "note" }, t("byProvider"))] : []), remove);
  };
  const invitedRow = ({ name: invitation, email }: Invitation) => {
    const label = email || t("anyAddress");
    const remove = button(t("remove"), () => void perform(() => api.admin.removeGroupMembers({ name, invitations: [invitation] })), { class: "plain danger", "aria-label": t("removeName", { name: label }) });
    return element("li", {}, element("span", { class: "about", ...WRITTEN }, label), element("span", { class: "note" }, t("invited")), remove);
  };
  const form = element("form", { class: "adding", novalidate: true }, person.root, element("button", { type: "submit", class: "quiet" }, t("add")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void perform(async () => {
      const emails = addressesIn(person.text);
      if (emails.length > 0 && emails.every((email) => email.includes("@"))) {
        const left = await addAll(api, name, emails);
        person.control.value = left.join(", ");
        if (left.length > 0) person.refuse(personText("nobodyMatches"));
        return;
      }
      const chosen = await person.chosen();
      if (!chosen) return;
      await api.admin.addGroupMembers({ name, users: [chosen.name] });
      person.control.value = "";
    });
  });
  await paint().catch((error: unknown) => (problem.textContent = failureOf(error).message));
  await shown(t("membersOf", { name: nameWithin(displayName) }), t("done"), [list, form, problem], person.control);
  await stage.again();
  stage.home.focus();
}

/** Add the active users with these addresses, and whoever was invited at one of them, to a group. Returns the addresses of nobody. */
async function addAll(api: Pick<Api, "admin" | "auth">, name: string, emails: readonly string[]): Promise<string[]> {
  const left: string[] = [];
  for (let first = 0; first < emails.length; first += ADDED) {
    const some = emails.slice(first, first + ADDED).map((email) => email.toLowerCase());
    const [{ users }, { invitations }] = await Promise.all([api.admin.listUsers({ filter: `state = ACTIVE AND ${oneOf("email", some)}`, pageSize: ADDED }), api.auth.listInvitations({ filter: oneOf("email", some), pageSize: 4 * ADDED })]);
    const people = [...users, ...invitations];
    if (people.length > 0) await api.admin.addGroupMembers({ name, users: users.map((user) => user.name), invitations: invitations.map((one) => one.name) });
    left.push(...some.filter((email) => people.every((one) => one.email !== email)));
  }
  return left;
}

/** The addresses in a text, which commas, semicolons, spaces or lines separate, each once. */
export function addressesIn(text: string): string[] {
  return [...new Set(text.split(/[\s,;]+/).filter(Boolean))];
}
