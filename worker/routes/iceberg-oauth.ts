/**
 * POST /v1/oauth/tokens (REST specification, getToken, deprecated there). Clients that know only `credential=<id>:<secret>`
 * (RFC 6749, section 4.4) pass a LakeSync token as the secret and get it back as the access token. Nothing is verified or
 * learned here: the token is verified with every request that carries it.
 */
import type { Context } from "hono";
import { TOKEN_CHARS_MAX } from "../../schemas/index.ts";

/** Three parts of base64url: the compact form of a JWT (RFC 7519). */
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

type OAuthError = "invalid_request" | "invalid_client" | "unsupported_grant_type";

const refused = (c: Context, error: OAuthError, why: string, status: 400 | 401 = 400) =>
  c.json({ error, error_description: why }, status);

export async function oauthTokens(c: Context): Promise<Response> {
  const form = await c.req.parseBody().catch(() => undefined);
  if (form === undefined) return refused(c, "invalid_request", "Send a form.");
  if (form.grant_type !== "client_credentials") {
    return refused(c, "unsupported_grant_type", "Only client_credentials; renew tokens where they were issued.");
  }
  const secret = typeof form.client_secret === "string" ? form.client_secret : basicSecret(c);
  if (secret.length > TOKEN_CHARS_MAX || !JWT.test(secret)) {
    return refused(c, "invalid_client", "The client secret is a LakeSync token (a JWT).", 401);
  }
  const answer = {
    access_token: secret,
    token_type: "bearer",
    issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
  };
  return c.json(answer, 200, { "Cache-Control": "no-store" });
}

/** The password of an Authorization header of scheme Basic, "" without one. */
function basicSecret(c: Context): string {
  const [scheme, encoded = ""] = (c.req.header("Authorization") ?? "").split(" ");
  if (scheme?.toLowerCase() !== "basic") return "";
  try {
    const pair = atob(encoded);
    return pair.slice(pair.indexOf(":") + 1);
  } catch {
    return "";
  }
}
