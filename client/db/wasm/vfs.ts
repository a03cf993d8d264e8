const OK = 0;
const NOTFOUND = 12;

/** What SQLite asks of a file system (https://sqlite.org/c3ref/io_methods.html), of files that nobody else has open. */
export const UNLOCKED = {
  xLock: (): number => OK,
  xUnlock: (): number => OK,
  xCheckReservedLock: (_id: number, out: DataView): number => {
    out.setInt32(0, 0, true);
    return OK;
  },
  xFileControl: (): number => NOTFOUND,
};
