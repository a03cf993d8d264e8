/**
 * `npm run token -- --gw demo --sub alice [--role admin] [--exp 1d] [--claim org=acme]`: a token for the gateway that
 * `npm run dev` starts. Only the token goes to stdout.
 */
import { parseArgs } from "node:util";
import { SignJWT } from "jose";
import { isGatewayId } from "../schemas/index.ts";
import { developmentSecret } from "./secret.ts";

const USAGE = `usage: npm run token -- --gw <gateway> --sub <user> [--role client|admin] [--exp 1d] [--claim name=value]...

  --gw      gateway that the token opens: lower-case letters, digits, hyphens
  --sub     user that it speaks for
  --role    client (default) or admin
  --exp     how long it lasts: 30s, 15m, 12h, 7d (default 1d)
  --claim   a further claim for sync rules; a value that is JSON is taken as such: --claim teams='["red","blue"]'
`;

class UsageError extends Error {}

const RESERVED = ["gw", "sub", "role", "exp"];

function claimsOf(pairs: readonly string[]): Record<string, unknown> {
  const claims: Record<string, unknown> = {};
  for (const pair of pairs) {
    const at = pair.indexOf("=");
    if (at < 1) throw new UsageError(`--claim ${pair}: write it as name=value.`);
    const name = pair.slice(0, at);
    if (RESERVED.includes(name)) throw new UsageError(`--claim ${name}: there is the option --${name} for that.`);
    const value = pair.slice(at + 1);
    try {
      claims[name] = JSON.parse(value);
    } catch {
      claims[name] = value;
    }
  }
  return claims;
}

function read(args: readonly string[]) {
  try {
    const string = { type: "string" } as const;
    const options = {
      gw: string,
      sub: string,
      role: string,
      exp: string,
      claim: { ...string, multiple: true },
    } as const;
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

async function main(args: readonly string[]): Promise<string> {
  const { gw = "", sub = "", role = "client", exp = "1d", claim = [] } = read(args);
  if (!isGatewayId(gw)) throw new UsageError(`--gw ${gw}: name a gateway, such as demo.`);
  if (sub === "") throw new UsageError("--sub: name the user, such as alice.");
  if (role !== "client" && role !== "admin") throw new UsageError(`--role ${role}: it is client or admin.`);
  if (!/^[1-9]\d{0,5}[smhd]$/.test(exp)) throw new UsageError(`--exp ${exp}: write it like 15m, 12h or 7d.`);
  const secret = process.env.JWT_SECRET ?? developmentSecret();
  if (secret === undefined)
    throw new UsageError(
      "There is no JWT_SECRET: run `npm run dev` once, which makes .dev.vars, or set it in the environment.",
    );
  return new SignJWT({ ...claimsOf(claim), gw, sub, role })
    .setProtectedHeader({ alg: "HS256" })
    .setIssuedAt()
    .setExpirationTime(exp)
    .sign(new TextEncoder().encode(secret));
}

try {
  console.log(await main(process.argv.slice(2)));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`${error.message}\n\n${USAGE}`);
  process.exitCode = 2;
}
