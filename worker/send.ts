/** Messages of one sendBatch. */
const MESSAGES_MAX = 100;

/** Sends however many messages there are. */
export async function sendAll<T>(queue: Pick<Queue<T>, "sendBatch">, bodies: readonly T[]): Promise<void> {
  for (let at = 0; at < bodies.length; at += MESSAGES_MAX)
    await queue.sendBatch(bodies.slice(at, at + MESSAGES_MAX).map((body) => ({ body })));
}
