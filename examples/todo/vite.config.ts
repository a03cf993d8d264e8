/** The app as static files. In an app of your own, npm resolves `lakesync/*`; here the sources stand in for the package. */
import { join } from "node:path";
import { defineConfig } from "vite";
import { appShell } from "./shell.ts";

const source = (path: string) => join(import.meta.dirname, "../..", path);

export default defineConfig({
  root: import.meta.dirname,
  resolve: {
    alias: {
      "lakesync/client": source("client/index.ts"),
      "lakesync/react": source("client/react/index.ts"),
    },
  },
  worker: { format: "es" },
  build: {
    target: "es2022",
    rolldownOptions: {
      input: { index: join(import.meta.dirname, "index.html"), sw: join(import.meta.dirname, "src/sw.ts") },
      // A service worker rules over the paths below its own, so it has to lie at the top, under a name that stays.
      output: { entryFileNames: ({ name }) => (name === "sw" ? "sw.js" : "assets/[name]-[hash].js") },
    },
  },
  plugins: [appShell()],
});
