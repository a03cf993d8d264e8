/** The parts of wa-sqlite that are used: its synchronous build, and the OPFS file system of its examples. */
declare module "wa-sqlite/dist/wa-sqlite.mjs" {
  const factory: (options?: Record<string, unknown>) => Promise<unknown>;
  export default factory;
}

declare module "wa-sqlite/src/examples/AccessHandlePoolVFS.js" {
  export class AccessHandlePoolVFS {
    constructor(directory: string);
    readonly name: string;
    readonly isReady: Promise<void>;
    xOpen(name: string | null, id: number, flags: number, outFlags: DataView): number;
    xClose(id: number): number;
    xRead(id: number, data: Uint8Array, offset: number): number;
    xWrite(id: number, data: Uint8Array, offset: number): number;
    xTruncate(id: number, size: number): number;
    xSync(id: number, flags: number): number;
    xFileSize(id: number, out: DataView): number;
    close(): Promise<void>;
  }
}
