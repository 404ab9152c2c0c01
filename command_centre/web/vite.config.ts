import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { build, defineConfig, type Plugin, type Rolldown } from "vite";
import { wordsChecked } from "./words";

const SHELL = join(import.meta.dirname, "src/field/shell");

/** Files of the page at /field: what its chunks lead to, and no other view's. */
function fieldFiles(bundle: Rolldown.OutputBundle): string[] {
  const found = new Set<string>();
  const chunks = Object.values(bundle).filter((one) => one.type === "chunk");
  const take = (file: string, further: boolean) => {
    const chunk = chunks.find((one) => one.fileName === file);
    if (!chunk || found.has(file)) return;
    found.add(file);
    for (const other of chunk.imports) take(other, further);
    // Every view is a dynamic import of the entry: what the field shares with it must not lead to all of them.
    for (const other of further && !chunk.isEntry ? chunk.dynamicImports : []) take(other, further);
    for (const style of chunk.viteMetadata?.importedCss ?? []) found.add(style);
    for (const asset of chunk.viteMetadata?.importedAssets ?? []) found.add(asset);
  };
  for (const chunk of chunks) {
    if (chunk.facadeModuleId?.endsWith("/field/Field.svelte")) take(chunk.fileName, true);
  }
  for (const chunk of chunks) if (chunk.isEntry) take(chunk.fileName, false);
  return [...found].sort().map((file) => `/${file}`);
}

/** Builds /field's service worker with the list of what it keeps, and lays manifest and icons beside it. */
function fieldShell(): Plugin {
  let files: string[] = [];
  return {
    name: "field-shell",
    apply: "build",
    generateBundle(_, bundle) {
      files = fieldFiles(bundle);
      const kept = (readdirSync(SHELL, { recursive: true, withFileTypes: true })).filter((one) => one.isFile());
      for (const one of kept) {
        const path = join(one.parentPath, one.name);
        const fileName = `field/${path.slice(SHELL.length + 1)}`;
        this.emitFile({ type: "asset", fileName, source: readFileSync(path) });
      }
    },
    async writeBundle({ dir }) {
      if (dir === undefined) throw new Error("the build writes into no folder");
      const page = readFileSync(join(dir, "index.html"));
      // A chunk of styles alone leaves no script: one file that is not there would end every installation.
      const there = files.filter((file) => existsSync(join(dir, file)));
      const shell = ["/field", "/field/manifest.webmanifest", "/field/icons/icon.svg", ...there];
      // File names carry digests of their contents, so names and page together are the version.
      const version = createHash("sha256").update(page).update(shell.join()).digest("hex").slice(0, 12);
      await build({
        configFile: false,
        logLevel: "warn",
        define: { __SHELL__: JSON.stringify(shell), __VERSION__: JSON.stringify(version) },
        build: {
          outDir: join(dir, "field"),
          emptyOutDir: false,
          target: "es2022",
          lib: { entry: join(import.meta.dirname, "src/field/worker.ts"), formats: ["iife"], name: "field", fileName: () => "sw.js" },
        },
      });
    },
  };
}

export default defineConfig({
  plugins: [wordsChecked(join(import.meta.dirname, "src")), svelte(), fieldShell()],
  build: {
    outDir: "dist",
    assetsDir: "assets",
    // A data: address would need a wider content security policy than 'self'.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
  },
  server: {
    proxy: { "/api": "http://127.0.0.1:8000", "/ws": { target: "ws://127.0.0.1:8000", ws: true } },
  },
});
