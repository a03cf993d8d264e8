import { env } from "cloudflare:test";
import { lakeAdapterContract } from "../testing/store-contract.ts";
import { R2Store } from "./index.ts";

lakeAdapterContract("R2", async () => {
  const bucket = (env as unknown as { LAKE: R2Bucket }).LAKE;
  for (let listed = await bucket.list(); listed.objects.length > 0; listed = await bucket.list())
    await bucket.delete(listed.objects.map((object) => object.key));
  return new R2Store(bucket, { location: "s3://lake" });
});
