/**
 * Hybrid Logical Clock values: 48 bits of milliseconds since 1970, 16 bits of counter (Kulkarni et al., "Logical
 * Physical Clocks", 2014).
 *
 *   HLC      branded bigint, for people and APIs
 *   HlcText  the same 64 bits as 16 lower-case hex digits: sorts as text, survives JSON and SQLite without loss
 *   Stamp    HlcText followed by the client id: one string comparison orders by (hlc, clientId) (M2)
 */
import type { Brand, ClientId } from "./ids.ts";

export type HLC = Brand<bigint, "HLC">;
export type HlcText = Brand<string, "HlcText">;
export type Stamp = Brand<string, "Stamp">;

export const HLC_TEXT_CHARS = 16;
export const HLC_COUNTER_MAX = 0xffff;
export const HLC_MILLIS_MAX = 2 ** 48 - 1;
export const HLC_ZERO = "0000000000000000" as HlcText;
/** Older than any stamp: the stamp of what never happened. */
export const NO_STAMP = "" as Stamp;

const HLC_TEXT = /^[0-9a-f]{16}$/;

export const isHlcText = (text: unknown): text is HlcText => typeof text === "string" && HLC_TEXT.test(text);

/** @param millis whole milliseconds, 0 to 2^48-1 @param counter 0 to 65,535 */
export function packHlc(millis: number, counter: number): HlcText {
  return (millis.toString(16).padStart(12, "0") + counter.toString(16).padStart(4, "0")) as HlcText;
}

export const hlcMillis = (hlc: HlcText): number => Number.parseInt(hlc.slice(0, 12), 16);
export const hlcCounter = (hlc: HlcText): number => Number.parseInt(hlc.slice(12), 16);

export const hlcToBigInt = (hlc: HlcText): HLC => BigInt(`0x${hlc}`) as HLC;

/** @returns undefined for a number outside 64 unsigned bits */
export function hlcFromBigInt(value: bigint): HlcText | undefined {
  if (value < 0n || value > 0xffff_ffff_ffff_ffffn) return undefined;
  return value.toString(16).padStart(HLC_TEXT_CHARS, "0") as HlcText;
}

export const makeStamp = (hlc: HlcText, clientId: ClientId): Stamp => (hlc + clientId) as Stamp;

/** The same clocks or stamps, each a text by itself: V8 compares pieces of a text, and what was joined, several times slower. */
export const ownTexts = <T extends string>(texts: readonly T[]): T[] => JSON.parse(JSON.stringify(texts)) as T[];

export const stampHlc = (stamp: Stamp): HlcText => stamp.slice(0, HLC_TEXT_CHARS) as HlcText;
export const stampClient = (stamp: Stamp): ClientId => stamp.slice(HLC_TEXT_CHARS) as ClientId;
