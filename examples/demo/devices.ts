/** Devices: the real client SDK in this process, each with a database of its own, talking HTTP to the gateway. */
import { HttpTransport, LocalDB, SyncCoordinator } from "../../client/index.ts";
import type { Scalar } from "../../schemas/index.ts";
import type { Table } from "./compare.ts";
import { type DemoGateway, GATEWAY_ID } from "./gateway.ts";

type Columns = readonly { readonly name: string; readonly type: string }[];

export interface Device {
  readonly name: string;
  readonly db: LocalDB;
  readonly sync: SyncCoordinator;
}

export async function openDevice(
  gateway: DemoGateway,
  user: string,
  name: string,
  tables: Readonly<Record<string, Columns>>,
): Promise<Device> {
  const schema = Object.fromEntries(
    Object.entries(tables).map(([table, columns]) => [
      table,
      Object.fromEntries(columns.map((c) => [c.name, { type: c.type }])),
    ]),
  );
  const db = await LocalDB.open({ name, backend: "memory", schema: schema as never });
  const token = await gateway.server.token({ sub: user, team: "lake" });
  const transport = new HttpTransport({ baseUrl: gateway.server.url.origin, gatewayId: GATEWAY_ID, token });
  return { name, db, sync: new SyncCoordinator(db, transport, { pageBytes: 4 << 20 }) };
}

/** What a device holds of a table. */
export async function deviceRows(device: Device, table: string, columns: Columns): Promise<Table> {
  const rows = await device.db.query<Record<string, Scalar>>(
    `SELECT id, ${columns.map((c) => `"${c.name}"`).join(", ")} FROM "${table}"`,
  );
  return new Map(rows.map(({ id, ...cells }) => [String(id), cells]));
}

/** One cell, as the device sees it. */
export async function cell(device: Device, table: string, id: string, column: string): Promise<Scalar | undefined> {
  const [row] = await device.db.query<Record<string, Scalar>>(`SELECT "${column}" FROM "${table}" WHERE id = ?`, [id]);
  return row?.[column];
}
