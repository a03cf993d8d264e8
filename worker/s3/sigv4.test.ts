/** Amazon's own examples ("Signature Calculations for the Authorization Header", "Using Query Parameters"), and what is near them. */
import { describe, expect, test } from "vitest";
import type { S3Error } from "./errors.ts";
import { claimOf, type SignedRequest, verifyClaim } from "./sigv4.ts";

const SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const NOW = Date.parse("2013-05-24T00:00:00Z");
const CREDENTIAL = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";

const signed = (path: string, signature: string, names: string, more: Record<string, string> = {}): SignedRequest => ({
  method: "GET",
  url: new URL(`https://examplebucket.s3.amazonaws.com${path}`),
  headers: new Headers({
    authorization: `AWS4-HMAC-SHA256 Credential=${CREDENTIAL},SignedHeaders=${names},Signature=${signature}`,
    "x-amz-content-sha256": EMPTY,
    "x-amz-date": "20130524T000000Z",
    ...more,
  }),
});
const GET_RANGE = signed(
  "/test.txt",
  "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
  "host;range;x-amz-content-sha256;x-amz-date",
  { range: "bytes=0-9" },
);
const LIST = signed(
  "/?max-keys=2&prefix=J",
  "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
  "host;x-amz-content-sha256;x-amz-date",
);
const PRESIGNED: SignedRequest = {
  method: "GET",
  headers: new Headers(),
  url: new URL(
    `https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${encodeURIComponent(CREDENTIAL)}&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404`,
  ),
};

const verdict = (request: SignedRequest, nowMs = NOW, secret = SECRET): string => {
  try {
    verifyClaim(request, claimOf(request), secret, nowMs);
    return "sound";
  } catch (error) {
    return (error as S3Error).code;
  }
};
const at = (request: SignedRequest, href: (href: string) => string): SignedRequest => ({
  ...request,
  url: new URL(href(request.url.href)),
});
const withHeader = (request: SignedRequest, name: string, value: string): SignedRequest => {
  const headers = new Headers(request.headers);
  headers.set(name, value);
  return { ...request, headers };
};

test.each([
  ["a range of an object", GET_RANGE],
  ["a listing", LIST],
  ["a presigned address", PRESIGNED],
])("[S1] Amazon's example of %s verifies", (_what, request) => {
  expect(verdict(request)).toBe("sound");
});

describe("what is not as it was signed is refused", () => {
  const other = "0".repeat(64);
  test.each<[string, SignedRequest, string]>([
    ["another secret's signature", withHeader(LIST, "x-amz-date", "20130524T000001Z"), "SignatureDoesNotMatch"],
    ["another method", { ...GET_RANGE, method: "HEAD" }, "SignatureDoesNotMatch"],
    ["another path", at(GET_RANGE, (href) => href.replace("test", "rest")), "SignatureDoesNotMatch"],
    ["another host", at(GET_RANGE, (href) => href.replace("example", "simple")), "SignatureDoesNotMatch"],
    ["another signed header", withHeader(GET_RANGE, "range", "bytes=0-10"), "SignatureDoesNotMatch"],
    ["a parameter more", at(LIST, (href) => `${href}&delimiter=%2F`), "SignatureDoesNotMatch"],
    ["another life", at(PRESIGNED, (href) => href.replace("86400", "86401")), "SignatureDoesNotMatch"],
    ["another signature", at(PRESIGNED, (href) => href.replace(/[0-9a-f]{64}$/, other)), "SignatureDoesNotMatch"],
    ["a short signature", at(PRESIGNED, (href) => href.slice(0, -1)), "SignatureDoesNotMatch"],
    ["no signature", { ...LIST, headers: new Headers() }, "AccessDenied"],
    ["another scheme", withHeader(LIST, "authorization", "Bearer x"), "AuthorizationHeaderMalformed"],
    [
      "a host that is not signed",
      withHeader(
        LIST,
        "authorization",
        `AWS4-HMAC-SHA256 Credential=${CREDENTIAL},SignedHeaders=x-amz-date,Signature=${other}`,
      ),
      "AuthorizationHeaderMalformed",
    ],
    ["another day", withHeader(LIST, "x-amz-date", "20130525T000000Z"), "AuthorizationHeaderMalformed"],
    ["a life of years", at(PRESIGNED, (href) => href.replace("86400", "604801")), "AuthorizationQueryParametersError"],
    ["no life", at(PRESIGNED, (href) => href.replace("86400", "0")), "AuthorizationQueryParametersError"],
    ["two dates", at(PRESIGNED, (href) => `${href}&X-Amz-Date=20130524T000000Z`), "AuthorizationQueryParametersError"],
    ["a path that is no UTF-8", at(GET_RANGE, (href) => href.replace("test", "%FF")), "InvalidURI"],
  ])("[S1] %s", (_what, request, code) => {
    expect(verdict(request)).toBe(code);
  });

  test("[S1] with another secret nothing verifies", () => {
    for (const request of [GET_RANGE, LIST, PRESIGNED])
      expect(verdict(request, NOW, "another")).toBe("SignatureDoesNotMatch");
  });

  test("[S2] a signed request lives for a quarter of an hour, a presigned address for as long as it says", () => {
    const minutes = (count: number) => NOW + count * 60_000;
    expect([-14, 14, 16, -16].map((count) => verdict(LIST, minutes(count)))).toEqual([
      "sound",
      "sound",
      "RequestTimeTooSkewed",
      "RequestTimeTooSkewed",
    ]);
    expect([-16, 0, 24 * 60, 24 * 60 + 1].map((count) => verdict(PRESIGNED, minutes(count)))).toEqual([
      "RequestTimeTooSkewed",
      "sound",
      "sound",
      "AccessDenied",
    ]);
  });
});
