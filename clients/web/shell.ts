/** What the builds add: compressed copies of their files, the list of files for the service worker, and a limit of the first screen's script. */

import { createHash } from "node:crypto";
import { brotliCompressSync, gzipSync } from "node:zlib";
import type { Plugin, Rollup } from "vite";

/** The most bytes of compressed script that the first screen may load. */
const BUDGET = 140_000;
const ENTRY = "index";
const WORKER = "worker";
/** Files that the page itself never loads, and the letters of other alphabets, which are not needed offline. */
const ELSEWHERE = /(^|\/)(docs|swagger|inter-(?!latin-wght))/;

export function shell(): Plugin {
  return {
    name: "shell",
    generateBundle: {
      order: "post", // after Vite has filled in what the files of the build are called
      handler(_, bundle) {
        const chunks = Object.values(bundle).filter((file) => file.type === "chunk");
        const entry = chunks.find((chunk) => chunk.isEntry && chunk.name === ENTRY)!;
        const first = withImports(entry.fileName, bundle);
        const size = [...first].reduce((sum, name) => sum + zipped(bundle[name] as Rollup.OutputChunk).length, 0);
        if (size > BUDGET) this.error(`the first screen loads ${size} bytes of compressed script, more than ${BUDGET}: import what it does not need with import()`);
        const files = [entry.fileName, ...Object.keys(bundle).filter((name) => name.startsWith("assets/") && name !== entry.fileName && !ELSEWHERE.test(name)).sort()].map((name) => `/${name}`);
        const worker = chunks.find((chunk) => chunk.name === WORKER)!;
        worker.code = worker.code.replace("@files@", files.join(" ")).replace("@version@", createHash("sha256").update(files.join()).digest("hex").slice(0, 12));
      },
    },
  };
}

/** Writes compressed copies of the files with these names, which the server sends to browsers that can read them. */
export function packed(names: RegExp): Plugin {
  return {
    name: "packed",
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        for (const file of Object.values(bundle).filter((file) => names.test(file.fileName))) {
          this.emitFile({ type: "asset", fileName: `${file.fileName}.gz`, source: zipped(file) });
          this.emitFile({ type: "asset", fileName: `${file.fileName}.br`, source: brotliCompressSync(contents(file)) }); // with the best quality, which is the default
        }
      },
    },
  };
}

/** A chunk and the chunks that are loaded with it. */
function withImports(name: string, bundle: Rollup.OutputBundle, found = new Set<string>()): Set<string> {
  const chunk = bundle[name];
  if (found.has(name) || chunk?.type !== "chunk") return found;
  found.add(name);
  for (const imported of chunk.imports) withImports(imported, bundle, found);
  return found;
}

function zipped(file: Rollup.OutputAsset | Rollup.OutputChunk): Uint8Array {
  return gzipSync(contents(file), { level: 9 });
}

function contents(file: Rollup.OutputAsset | Rollup.OutputChunk): string | Uint8Array {
  return file.type === "chunk" ? file.code : file.source;
}
