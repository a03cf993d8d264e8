/** A device in a tab: its driver exposes `lakesyncToken` and `lakesyncReport`, and calls `lakesyncStart`. */
import { type Host, startWorkload, type Workload, type WorkloadJob } from "../workload.ts";

interface Page {
  lakesyncToken(user: string): Promise<string>;
  lakesyncReport(event: unknown): Promise<void>;
  lakesyncStart(job: WorkloadJob): Promise<void>;
  lakesyncDevice?: Workload;
}

const page = globalThis as unknown as Page;
const host: Host = {
  token: (user) => page.lakesyncToken(user),
  report: (event) => void page.lakesyncReport(event),
};
page.lakesyncStart = async (job) => {
  page.lakesyncDevice = await startWorkload(job, host);
};
