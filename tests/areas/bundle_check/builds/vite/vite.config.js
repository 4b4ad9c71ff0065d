import { defineConfig } from "vite";

export default defineConfig({
  build: {
    manifest: true,
    sourcemap: process.env.SITE_MAPS === "1",
    rollupOptions: { input: { main: "index.html", admin: "admin/index.html" } },
  },
});
