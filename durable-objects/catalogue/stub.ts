/** The road to a gateway's Catalogue: what the REST routes and LakeSync's own flushes hold in their hands. */
import { type CatalogueServer, catalogueError } from "../../lake/index.ts";
import { err } from "../../schemas/index.ts";
import type { Env } from "../env.ts";
import { call, type Plain } from "../rpc.ts";
import type { CatalogueMethod } from "./index.ts";

/** The catalogue of a gateway. `gatewayId` must come from a verified token or from LakeSync's own records (S1). */
export function catalogueServer(env: Pick<Env, "CATALOGUE">, gatewayId: string): CatalogueServer {
  const stub = env.CATALOGUE.getByName(gatewayId);
  const method =
    <M extends CatalogueMethod>(name: M) =>
    (...args: Parameters<CatalogueServer[M]>) =>
      call("catalogue", stub.ask(gatewayId, name, args) as Promise<Plain<unknown>>) as ReturnType<CatalogueServer[M]>;
  const commit = method("commit");
  return {
    listNamespaces: method("listNamespaces"),
    createNamespace: method("createNamespace"),
    loadNamespace: method("loadNamespace"),
    dropNamespace: method("dropNamespace"),
    updateNamespace: method("updateNamespace"),
    listTables: method("listTables"),
    tableExists: method("tableExists"),
    loadTable: method("loadTable"),
    createTable: method("createTable"),
    stageTable: method("stageTable"),
    registerTable: method("registerTable"),
    dropTable: method("dropTable"),
    renameTable: method("renameTable"),
    /** A call that broke off may have landed (L2); `call` names that `Unavailable`, which the catalogue itself never does. */
    async commit(changes) {
      const answer = await commit(changes);
      if (answer.ok || answer.error.code !== "Unavailable") return answer;
      const message = "The commit broke off and may have landed: load the table and look.";
      return err(catalogueError("CommitStateUnknownException", message, { cause: answer.error }));
    },
  };
}
