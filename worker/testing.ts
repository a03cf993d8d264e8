/** Parts of the Worker that run outside of it, for tests. */
export { type IcebergRoutesOptions, icebergRoutes } from "./routes/iceberg.ts";
