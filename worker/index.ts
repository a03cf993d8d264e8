/** The edge Worker: what `wrangler deploy` sends. */
import config from "../lakesync.config.ts";
import { createGateway } from "./gateway.ts";

export { Catalogue, Hub, Shard, Tenant } from "./gateway.ts";

export default createGateway({ config });
