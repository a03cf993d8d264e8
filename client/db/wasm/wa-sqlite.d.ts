/** The parts of wa-sqlite that are used: its synchronous build. */
declare module "wa-sqlite/dist/wa-sqlite.mjs" {
  const factory: (options?: Record<string, unknown>) => Promise<unknown>;
  export default factory;
}
