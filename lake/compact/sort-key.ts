/** What a table's files are sorted by: `_id` for rows, `_seq` for history. Never null. */
import { compareCodePoints, LakeSyncError, type Scalar } from "../../schemas/index.ts";
import { type DataFile, decodeLong, decodeString, type LakeField } from "../iceberg/index.ts";

export type Key = string | number;

/** Above these, code units are in another order than code points. */
const SURROGATES = /[\uD800-\uFFFF]/;

export class SortKey {
  readonly field: LakeField;

  constructor(field: LakeField) {
    if (field.type !== "string" && field.type !== "long")
      throw new LakeSyncError(
        "DestinationRefused",
        `A table is sorted by a string or a long; ${field.name} is a ${field.type}.`,
        { column: field.name },
      );
    this.field = field;
  }

  readonly compare = (a: Key, b: Key): number =>
    typeof a === "string" ? compareCodePoints(a, b as string) : a - (b as number);

  /** The same order, faster, for keys of which all are `plain`. */
  readonly comparePlain = (a: Key, b: Key): number => (a < b ? -1 : a > b ? 1 : 0);

  /** Whether operators compare these keys right. */
  plain(keys: readonly Key[]): boolean {
    return this.field.type === "long" || !keys.some((key) => SURROGATES.test(key as string));
  }

  /** The key of a row as it was read. Longs past 2^53, which no seq reaches, come as text. */
  of(value: Scalar): Key {
    return this.field.type === "long" ? Number(value) : (value as string);
  }

  lower(file: DataFile): Key | undefined {
    return this.#bound(file.lower_bounds?.get(this.field.fieldId));
  }

  upper(file: DataFile): Key | undefined {
    return this.#bound(file.upper_bounds?.get(this.field.fieldId));
  }

  #bound(bytes: Uint8Array | undefined): Key | undefined {
    if (!bytes) return undefined;
    return this.field.type === "long" ? Number(decodeLong(bytes)) : decodeString(bytes);
  }
}
