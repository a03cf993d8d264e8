/** A network between a device and a gateway: requests that never arrive, answers that are lost, requests sent twice. */
import { LakeSyncError } from "../../schemas/index.ts";
import type { LocalGateway } from "../transport/local.ts";

export interface Faults {
  /** Chance that a request is lost before the gateway sees it. */
  readonly request: number;
  /** Chance that its answer is lost after the gateway has done it. */
  readonly answer: number;
  /** Chance that it arrives twice. */
  readonly twice: number;
}

/** @param during runs while a page is under way to the device */
export function flaky(
  gateway: LocalGateway,
  random: () => number,
  faults: Faults,
  during: () => Promise<void> = async () => undefined,
): LocalGateway {
  const lost = () => new LakeSyncError("Network", "The connection was lost.");
  const through = async <T>(request: () => Promise<T> | T): Promise<T> => {
    if (random() < faults.request) throw lost();
    if (random() < faults.twice) await request();
    const answer = await request();
    if (random() < faults.answer) throw lost();
    return answer;
  };
  return {
    ...gateway,
    push: (call) => through(() => gateway.push(call)),
    pull: async (call) => {
      const page = await through(() => gateway.pull(call));
      await during();
      return page;
    },
  };
}
