/** A device's process, to be killed: `node client.ts '<JSON>'`. Lines of JSON: commands in, events and answers out. */
import { createInterface } from "node:readline";
import { SignJWT } from "jose";
import { startWorkload, type Workload, type WorkloadJob } from "./workload.ts";

export interface ClientJob extends WorkloadJob {
  readonly jwtSecret: string;
  readonly teams: readonly string[];
  readonly tokenSeconds: number;
}

const job = JSON.parse(process.argv[2] ?? "{}") as ClientJob;
const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
process.on("disconnect", () => process.exit());

const workload = await startWorkload(job, {
  token: (sub) =>
    new SignJWT({ gw: job.gatewayId, sub, teams: job.teams })
      .setProtectedHeader({ alg: "HS256" })
      .setExpirationTime(Math.floor(Date.now() / 1000) + job.tokenSeconds)
      .sign(new TextEncoder().encode(job.jwtSecret)),
  report: say,
});
say({ started: true });

interface Command {
  readonly id: number;
  readonly call: keyof Workload;
  readonly argument: never;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, call, argument } = JSON.parse(line) as Command;
  try {
    say({ id, answer: (await workload[call](argument)) ?? null });
  } catch (error) {
    say({ id, error: String(error) });
  }
}
