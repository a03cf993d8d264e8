/** What bundlers for browsers put in node.ts's place: package.json, "browser". */
export const openNodeDriver = undefined;
