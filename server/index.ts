/** The self-hosted gateway. */
export { GatewayServer, type GatewayServerOptions } from "./gateway-server.ts";
