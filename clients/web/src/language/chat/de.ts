import type { en } from "./en.js";
import type { Translated } from "../messages.js";

export const de: Translated<typeof en> = {
  shareTitle: "Diese Antwort teilen",
  shareNote: "Alle in Ihrer Organisation, die den Link haben, können diese Frage und die Antwort darauf lesen, aber sonst nichts aus dem Gespräch. Quellen und Zitate sehen sie nur aus Dokumenten, die sie lesen dürfen. Text, den ein Sprachmodell geschrieben hat, sehen alle.",
  shareTime: "Der Link gilt für",
  shareUsual: "Standarddauer des Servers",
  shareAsNow: "So lange wie jetzt",
  shareDays: { one: "{count} Tag", other: "{count} Tage" },
  shareCreate: "Link erstellen",
  shareMade: "Link erstellt.",
  shareUntil: "Der Link gilt bis {date}.",
  shareRevoke: "Link widerrufen",
  shareRevoked: "Der Link gilt nicht mehr.",
  sharedAnswer: "Geteilte Antwort",
  linkGone: "Dieser Link funktioniert nicht",
  linkGoneNote: "Vielleicht ist er abgelaufen oder widerrufen, oder die Antwort wurde gelöscht. Bitten Sie um einen neuen Link.",
  notOpened: "Die Antwort konnte nicht geöffnet werden",
  sharedByYou: "Von Ihnen geteilt",
  sharedBy: "Geteilt von {name}",
  aUser: "jemandem",
  askedOn: "gefragt am {date}",
  hiddenDocument: "Ein Dokument, das Sie nicht lesen dürfen",
  hiddenSources: { one: "{count} Quelle dieser Antwort ist verborgen, weil Sie das Dokument nicht lesen dürfen. Der Besitzer kann es für Sie freigeben.", other: "{count} Quellen dieser Antwort sind verborgen, weil Sie die Dokumente nicht lesen dürfen. Die Besitzer können sie für Sie freigeben." },
  hiddenAnswer: "Diese Antwort besteht aus Textstellen von Dokumenten, die Sie nicht lesen dürfen. Die Besitzer können sie für Sie freigeben.",
};
