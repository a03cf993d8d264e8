import { clientSuite } from "./client-suite.ts";
import { titlesInLake } from "./in-lake.ts";

clientSuite("the lake", async () => ({ titles: titlesInLake }));
