/** The form of a connected folder: where it is, its collection, and how often it is checked. */

import { FolderKind, type ConnectedFolder } from "@responsa/contract/responsa/admin/v1/source_pb.js";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectedFolderSchema } from "@responsa/contract/responsa/admin/v1/source_pb.js";
import { allCollections, collectionId, idFrom, type Listed } from "../documents/library.js";
import { t } from "../language/administration/texts.js";
import { failureOf } from "../server/errors.js";
import { element, replace, WRITTEN } from "../widgets/dom.js";
import { choiceEntry, Entry, lacking, placed, textEntry } from "../widgets/fields.js";
import type { SourcesApi } from "./sourceruns.js";

const PLAIN = { spellcheck: "false", autocapitalize: "none" } as const;
const EVERY = "*/15 * * * *";
const TIMES = [[EVERY, t("everyQuarter")], ["0 * * * *", t("everyHour")], ["0 3 * * *", t("everyNight")], ["", t("neverByItself")]] as const;

const KINDS = [[String(FolderKind.PATH), t("onServer")], [String(FolderKind.WEBDAV), t("webDav")], [String(FolderKind.GIT), t("gitRepository")], [String(FolderKind.S3), t("bucket")]] as const;
/** What addresses look like. */
const ADDRESSES: Readonly<Record<number, string>> = {
  [FolderKind.GIT]: "https://git.example.org/handbook.git",
  [FolderKind.WEBDAV]: "https://cloud.example.org/remote.php/dav/files/ada/Handbook",
  [FolderKind.S3]: "https://s3.example.org/handbook",
};

export class FolderForm {
  readonly root: HTMLFormElement;
  readonly #api: SourcesApi;
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #kind = choiceEntry(t("folderKind"), KINDS);
  readonly #address = textEntry(t("folderAddress"), { required: true, maxlength: "2048", ...PLAIN });
  readonly #paths = element("p", { class: "note", ...WRITTEN });
  readonly #branch = textEntry(t("branch"), { maxlength: "200", ...PLAIN }, t("branchNote"));
  readonly #region = textEntry(t("region"), { maxlength: "63", placeholder: "us-east-1", ...PLAIN });
  readonly #user = textEntry(t("folderUser"), { maxlength: "200", ...PLAIN }, t("folderUserNote"));
  readonly #password = textEntry(t("folderPassword"), { type: "password", maxlength: "1024", ...PLAIN }, t("folderPasswordNote"));
  readonly #names = element("datalist", { id: "folder-collections" });
  readonly #collection = textEntry(t("folderCollection"), { required: true, maxlength: "100", list: "folder-collections" }, t("folderCollectionNote"));
  readonly #schedule = choiceEntry(t("checkFolder"), TIMES);
  readonly #code = element("input", { type: "checkbox" });
  readonly #save = element("button", { type: "submit" });
  #collections: readonly Listed[] = [];
  #stored: ConnectedFolder | undefined;

  /** `store` keeps the folder; its errors appear at the fields. */
  constructor(api: SourcesApi, store: (folder: MessageInitShape<typeof ConnectedFolderSchema>) => Promise<void>) {
    this.#api = api;
    this.root = element("form", { class: "sheet narrow", novalidate: true, "aria-label": t("folder") }, this.#kind.root, this.#address.root, this.#paths, this.#branch.root, this.#region.root, this.#user.root, this.#password.root, this.#collection.root, this.#names, this.#schedule.root, element("label", { class: "inline" }, this.#code, t("sourceCode")), element("div", { class: "row wrap" }, this.#save), this.#problem);
    this.#kind.control.addEventListener("change", () => this.#choose());
    this.root.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#store(store);
    });
  }

  /** Show a folder; without one, the form of a new one. */
  async show(folder: ConnectedFolder | undefined): Promise<void> {
    this.#stored = folder;
    this.#problem.textContent = "";
    this.#save.textContent = folder ? t("save") : t("connect");
    this.#kind.control.value = String(folder?.kind ?? FolderKind.PATH);
    this.#address.control.value = folder?.address ?? "";
    this.#branch.control.value = folder?.branch ?? "";
    this.#region.control.value = folder?.region ?? "";
    this.#code.checked = folder?.sourceCode ?? false;
    this.#user.control.value = folder?.user ?? "";
    this.#password.control.value = "";
    this.#password.control.placeholder = folder?.passwordStored ? t("passwordKept") : "";
    this.#choose();
    const schedule = folder?.schedule ?? EVERY;
    if (!TIMES.some(([one]) => one === schedule)) this.#schedule.control.append(element("option", { value: schedule }, schedule));
    this.#schedule.control.value = schedule;
    this.#collection.control.value = folder ? collectionId(folder.collection) : "";
    const [collections, connections] = await Promise.all([allCollections(this.#api).catch(() => []), this.#api.admin.listConnections({}).catch(() => undefined)]);
    this.#collections = collections;
    replace(this.#names, ...collections.map((one) => element("option", { value: one.label })));
    const chosen = collections.find((one) => one.name === folder?.collection);
    if (chosen) this.#collection.control.value = chosen.label;
    if (!connections) return;
    this.#paths.textContent = connections.folderPaths.length > 0 ? t("folderPaths", { paths: connections.folderPaths.join(", ") }) : t("noFolderPaths");
  }

  /** Show the fields of the chosen kind. */
  #choose(): void {
    const kind = Number(this.#kind.control.value);
    this.#address.control.placeholder = ADDRESSES[kind] ?? "";
    this.#paths.hidden = kind !== FolderKind.PATH;
    this.#branch.root.hidden = kind !== FolderKind.GIT;
    this.#region.root.hidden = kind !== FolderKind.S3;
    this.#user.root.hidden = this.#password.root.hidden = kind === FolderKind.PATH;
  }

  async #store(store: (folder: MessageInitShape<typeof ConnectedFolderSchema>) => Promise<void>): Promise<void> {
    if (this.root.hasAttribute("aria-busy") || lacking([this.#address, this.#collection])) return;
    this.root.setAttribute("aria-busy", "true"); // a disabled button would lose the focus
    this.#problem.textContent = "";
    const entries: Record<string, Entry> = { kind: this.#kind, address: this.#address, branch: this.#branch, region: this.#region, user: this.#user, password: this.#password, collection: this.#collection, schedule: this.#schedule };
    const value = ({ root, control }: Entry) => (root.hidden ? "" : control.value.trim());
    try {
      const { timeZone, deletionsPercent } = this.#stored ?? { timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone, deletionsPercent: undefined };
      await store({
        kind: Number(this.#kind.control.value),
        address: value(this.#address),
        branch: value(this.#branch),
        region: value(this.#region),
        user: value(this.#user),
        password: value(this.#password),
        collection: await this.#named(this.#collection.control.value.trim()),
        schedule: this.#schedule.control.value,
        sourceCode: this.#code.checked,
        timeZone,
        ...(deletionsPercent === undefined ? {} : { deletionsPercent }),
      });
    } catch (error) {
      this.#problem.textContent = placed(Object.fromEntries(Object.entries(entries).map(([name, entry]) => [`source.folder.${name}`, entry])), failureOf(error));
    } finally {
      this.root.removeAttribute("aria-busy");
    }
  }

  /** The name of the collection that is called so; it is created if there is none. */
  async #named(label: string): Promise<string> {
    const known = this.#collections.find((one) => one.label === label || collectionId(one.name) === label);
    if (known) return known.name;
    const made = await this.#api.knowledge.createCollection({ collectionId: idFrom(label) || `collection-${Date.now()}`, collection: { displayName: label } });
    this.#collections = [...this.#collections, { ...made, label }];
    return made.name;
  }
}
