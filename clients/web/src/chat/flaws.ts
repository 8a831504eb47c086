/** Says what stands against a citation: its words are not in the source, a model that checked it disagrees, or something differs. Nothing here touches the page. */

import { DifferenceKind, JudgeVerdict, QuoteOrigin, type Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { unitsAt } from "@responsa/client/parts.js";
import { t } from "../language/language.js";

/** The number of characters of an answer or a source that a mark shows. */
const MOST = 60;

/** The flaws of a citation in an answer with this text, each in a few words; none for a valid mark. */
export function flawsOf(text: string, { quote, quoteOrigin, verdict, sourceRange, differences }: Citation): readonly string[] {
  const start = Number(sourceRange?.start ?? 0n);
  const end = start + new TextEncoder().encode(quote).length;
  const cut = (whole: string, from: number, to: number) => {
    const [first = 0, last = 0] = unitsAt(whole, [from, to]);
    const words = whole.slice(first, last).replace(/\s+/g, " ").trim();
    return words.length > MOST ? `${words.slice(0, MOST)}…` : words;
  };
  const differing = differences.map(({ kind, answerRange, sourceRange: place }) => {
    if (kind === DifferenceKind.DENIAL) return t("deniesOther");
    const [from, to] = [Number(place?.start ?? 0n), Number(place?.end ?? 0n)];
    if (place && from >= start && to <= end) return t("passageSays", { text: cut(quote, from - start, to - start) });
    return t(place ? "passageDiffers" : "notInPassage", { text: cut(text, Number(answerRange?.start ?? 0n), Number(answerRange?.end ?? 0n)) });
  });
  return [...(quoteOrigin === QuoteOrigin.NOT_FOUND ? [t("quoteNotFound")] : []), ...(verdict === JudgeVerdict.DENIED ? [t("denied")] : []), ...new Set(differing)];
}
