import type { en } from "./en.js";
import type { Translated } from "../messages.js";

export const de: Translated<typeof en> = {
  shareTitle: "Diese Antwort teilen",
  shareNote: "Alle in Ihrer Organisation, die den Link haben, können diese Frage und ihre Antwort lesen, und sonst nichts aus dem Gespräch. Quellen und Zitate sehen sie nur aus Dokumenten, die sie lesen dürfen. Text, den ein Sprachmodell geschrieben hat, sehen alle.",
  shareTime: "Der Link gilt für",
  shareUsual: "Standarddauer des Servers",
  shareAsNow: "So lange wie jetzt",
  shareDays: { one: "{count} Tag", other: "{count} Tage" },
  shareCreate: "Link erstellen",
  shareMade: "Link angelegt.",
  shareUntil: "Der Link gilt bis {date}.",
  shareRevoke: "Link widerrufen",
  shareRevoked: "Der Link gilt nicht mehr.",
  sharedAnswer: "Geteilte Antwort",
  linkGone: "Dieser Link funktioniert nicht",
  linkGoneNote: "Vielleicht ist er abgelaufen, oder er wurde widerrufen, oder die Antwort wurde gelöscht. Bitten Sie um einen neuen Link.",
  notOpened: "Die Antwort konnte nicht geöffnet werden",
  sharedByYou: "Von Ihnen geteilt",
  sharedBy: "Geteilt von {name}",
  aUser: "jemandem",
  askedOn: "gefragt am {date}",
  hiddenDocument: "Ein Dokument, das Sie nicht lesen dürfen",
  hiddenSources: { one: "{count} Quelle dieser Antwort ist ausgeblendet, weil Sie das Dokument nicht lesen dürfen. Der Eigentümer kann es mit Ihnen teilen.", other: "{count} Quellen dieser Antwort sind ausgeblendet, weil Sie die Dokumente nicht lesen dürfen. Die Eigentümer können sie mit Ihnen teilen." },
  hiddenAnswer: "Diese Antwort besteht aus Stellen von Dokumenten, die Sie nicht lesen dürfen. Die Eigentümer können sie mit Ihnen teilen.",
};
