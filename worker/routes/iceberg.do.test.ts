/** The catalogue through the Worker's own door: real tokens, routes, Durable Object and bucket. */
import { SELF } from "cloudflare:test";
import { expect, test } from "vitest";
import { catalogueContract } from "../../core/testing.ts";
import { RestCatalogue } from "../../lake/index.ts";
import { TestGateway } from "../testing/gateway.ts";

const send: typeof fetch = (url, init) => SELF.fetch(new Request(url, init));

catalogueContract("REST client through the Worker", async () => {
  const gateway = new TestGateway();
  const catalogue = new RestCatalogue({
    uri: "http://gateway/iceberg",
    warehouse: gateway.id,
    auth: { type: "bearer", token: () => gateway.admin() },
    fetch: send,
    clock: Date,
  });
  return { catalogue, namespace: ["shop"] };
});

test("[S1] the token decides whose catalogue it is, and [PL7] only an admin's opens it", async () => {
  const [mine, other] = [new TestGateway(), new TestGateway()];
  const status = async (path: string, token?: string) => {
    const headers: Record<string, string> = token === undefined ? {} : { Authorization: `Bearer ${token}` };
    const response = await send(`http://gateway/iceberg/v1/${path}`, { headers });
    const body = (await response.json()) as { error?: { type: string } };
    return `${response.status} ${body.error?.type ?? "fine"}`;
  };
  expect(await status(`config?warehouse=${mine.id}`, await mine.admin())).toBe("200 fine");
  expect(await status(`${mine.id}/namespaces`, await mine.admin())).toBe("200 fine");
  expect(await status(`${mine.id}/namespaces`, await other.admin())).toBe("403 ForbiddenException");
  expect(await status(`${mine.id}/namespaces`, await mine.token("alice"))).toBe("403 ForbiddenException");
  expect(await status(`${mine.id}/namespaces`)).toBe("401 NotAuthorizedException");
  expect(await status(`${mine.id}/namespaces`, `${await mine.admin()}x`)).toBe("401 NotAuthorizedException");
  expect(await status(`${mine.id}/views`, await mine.admin())).toBe("406 UnsupportedOperationException");
});
