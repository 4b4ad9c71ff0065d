import { PrismaPg } from "@prisma/adapter-pg";
import pg from "pg";
import { defineConfig } from "prisma/config";

// The adapter cannot read the type name (19), which `migrate deploy` asks the catalog for.
class Pool extends pg.Pool {
  async query(...args: unknown[]) {
    const result = await super.query(...(args as [never]));
    for (const field of [result].flat().flatMap((each: any) => each?.fields ?? [])) {
      if (field.dataTypeID === 19) field.dataTypeID = 25;
    }
    return result as never;
  }
}

export default defineConfig({
  schema: "prisma/schema.prisma",
  experimental: { adapter: true },
  engine: "js",
  // Without allowExitOnIdle each command stays for the pool's idle time, 10 s.
  adapter: async () =>
    new PrismaPg(
      new Pool({ connectionString: process.env.DATABASE_URL, allowExitOnIdle: true }),
    ),
});
