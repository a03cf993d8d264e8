/** What the client needs of a browser: a module worker that owns a synchronous file handle in the origin's private file system. */
import { expect, test } from "vitest";

interface Reply {
  readBack: string;
  bytes: number;
}

test("a module worker writes to the origin's private file system, and the page reads it", async () => {
  const worker = new Worker(new URL("./fixtures/opfs-worker.js", import.meta.url), { type: "module" });
  try {
    const reply = await new Promise<Reply>((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage("sea");
    });
    expect(reply).toEqual({ readBack: "sea", bytes: 3 });
  } finally {
    worker.terminate();
  }
  const directory = await navigator.storage.getDirectory();
  const file = await (await directory.getFileHandle("opfs-worker.txt")).getFile();
  expect(await file.text()).toBe("sea");
});

test("the page has the locks and channels that tabs elect a leader with", async () => {
  expect(await navigator.locks.request("leader", (lock) => lock?.mode)).toBe("exclusive");
  const [here, there] = [new BroadcastChannel("tabs"), new BroadcastChannel("tabs")];
  const heard = new Promise((resolve) => {
    there.onmessage = ({ data }) => resolve(data);
  });
  here.postMessage("poke");
  expect(await heard).toBe("poke");
  here.close();
  there.close();
});
