// Lets `prisma migrate diff` compare two scratch databases; written for prisma 6.19.3.
//
// With a driver adapter, diff refuses every database as input: only migrations and models are
// left. So it is given two empty directories of migrations, and the two shadow databases in
// which it would replay them are the databases to compare. It only reads them.
import { AsyncLocalStorage } from "node:async_hooks";
import { createRequire } from "node:module";

const fromProject = createRequire(process.env.OPSCTL_PROJECT);
const adapterPath = fromProject.resolve("@prisma/adapter-pg");
const fromAdapter = createRequire(adapterPath);
const { PrismaPg } = fromProject(adapterPath);
const { ColumnTypeEnum } = fromAdapter("@prisma/driver-adapter-utils");
const pg = fromAdapter("pg");

const CHAR = 18;
const NAME = 19;
const TEXT = 25;
const charColumns = new AsyncLocalStorage();

// The adapter refuses the types "char" and name, which the engine asks the catalog for.
class Pool extends pg.Pool {
  async query(...args) {
    const result = await super.query(...args);
    for (const each of [result].flat()) {
      each?.fields?.forEach((field, index) => {
        if (field.dataTypeID === CHAR) charColumns.getStore()?.add(index);
        if (field.dataTypeID === CHAR || field.dataTypeID === NAME) field.dataTypeID = TEXT;
      });
    }
    return result;
  }
}

async function connect(connectionString) {
  // Without allowExitOnIdle the program stays for the pool's idle time, 10 s.
  const pool = new Pool({ connectionString, allowExitOnIdle: true });
  const adapter = await new PrismaPg(pool).connect();
  const queryRaw = adapter.queryRaw.bind(adapter);
  adapter.queryRaw = (query) =>
    charColumns.run(new Set(), async () => {
      const result = await queryRaw(query);
      // The engine panics where "char" comes as anything but a character.
      for (const index of charColumns.getStore()) {
        result.columnTypes[index] = ColumnTypeEnum.Character;
      }
      return result;
    });
  return adapter;
}

const shadows = [process.env.OPSCTL_FROM, process.env.OPSCTL_TO];

export default {
  schema: process.env.OPSCTL_SCHEMA,
  experimental: { adapter: true },
  engine: "js",
  adapter: async () => ({
    provider: "postgres",
    adapterName: "@prisma/adapter-pg",
    connect: () => connect(process.env.OPSCTL_FROM),
    connectToShadowDb: () => connect(shadows.shift()),
  }),
};
