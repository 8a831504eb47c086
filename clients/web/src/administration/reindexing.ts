/** Offers to index again the collections that are searched with another embedding model than new ones, with what this costs at most. */

import type { ModelSettings } from "@responsa/contract/responsa/admin/v1/model_settings_pb.js";
import { GenerationState } from "@responsa/contract/responsa/knowledge/v1/generation_pb.js";
import { allCollections, type Listed } from "../documents/library.js";
import { t } from "../language/administration/texts.js";
import type { Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import { money } from "../text/facts.js";
import { button, element, replace } from "../widgets/dom.js";

const PASSAGE_TOKENS = 500; // Chunking.max_tokens, if a collection says nothing else
const MILLION = 1_000_000n;

/** Show the offer in `root`; nothing if all collections have the model of new ones. `say` announces a text to screen readers. */
export async function offerReindexing(root: HTMLElement, api: Pick<Api, "knowledge">, settings: ModelSettings, say: (text: string) => void): Promise<void> {
  const [provider, model] = [settings.embedding.split(":", 1)[0], settings.embedding.slice(settings.embedding.indexOf(":") + 1)];
  const embeddings = settings.providers.find((one) => one.name === provider)?.embeddings ?? [];
  const price = embeddings.find((one) => one.model === model)?.usdMicrosPerMillionTokens ?? 0n;
  // The name of a generation's model has the length of its vectors; that of the model on the server's machine has no provider.
  const has = ({ embedding }: Listed) => (provider === "embedded" ? !embedding.includes(":") : embedding.startsWith(`${settings.embedding}/`));
  const others = (await allCollections(api)).filter((one) => one.manageable && !has(one));
  if (others.length === 0) return replace(root);
  const tokens = await Promise.all(
    others.map(async ({ name, chunking }) => {
      const { generations } = await api.knowledge.listGenerations({ parent: name });
      return BigInt(generations.find((one) => one.state === GenerationState.ACTIVE)?.passagesTotal ?? 0) * BigInt(chunking?.maxTokens ?? PASSAGE_TOKENS);
    }),
  );
  const total = tokens.reduce((sum, one) => sum + one, 0n);
  const cost = price > 0n ? t("reindexCost", { cost: money((total * price + MILLION - 1n) / MILLION), tokens: total.toLocaleString() }) : provider === "embedded" ? "" : t("reindexTokens", { tokens: total.toLocaleString() });
  const result = element("p", { role: "status" });
  const begin = async () => {
    try {
      for (const { name } of others) await api.knowledge.reindexCollection({ name, embedding: settings.embedding });
      replace(root, element("p", { class: "note" }, t("reindexBegun")));
      say(t("reindexBegun"));
    } catch (error) {
      result.className = "problem";
      result.textContent = failureOf(error).message;
    }
  };
  const names = others.map((one) => one.label).join(", ");
  replace(root, element("p", {}, t("otherEmbedding", { count: others.length, names }), " ", cost), button(t("indexAgain"), () => void begin(), { class: "quiet" }), result);
}
