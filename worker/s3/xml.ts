/** What S3 answers in: errors and listings (S3 API reference, "Error responses", "ListObjectsV2"). */
import type { S3Error } from "./errors.ts";

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "\r": "&#13;",
};

const escaped = (text: string): string => text.replace(/[&<>"\r]/g, (c) => ESCAPES[c] ?? c);
const element = (name: string, value: string | number | boolean): string =>
  `<${name}>${escaped(String(value))}</${name}>`;

function document(body: string, status: number, headers: Readonly<Record<string, string>> = {}): Response {
  const type = { "content-type": "application/xml", "cache-control": "no-store" };
  return new Response(`<?xml version="1.0" encoding="UTF-8"?>\n${body}`, { status, headers: { ...type, ...headers } });
}

export function errorDocument({ code, status, message, headers }: S3Error, path: string, requestId: string): Response {
  const parts = [element("Code", code), element("Message", message), element("Resource", path)];
  return document(`<Error>${parts.join("")}${element("RequestId", requestId)}</Error>`, status, headers);
}

export interface Listing {
  readonly bucket: string;
  readonly prefix: string;
  readonly delimiter: string;
  readonly maxKeys: number;
  /** `url` where names go percent-encoded. */
  readonly encoding: string;
  readonly page: R2Objects;
}

export function listingDocument({ bucket, prefix, delimiter, maxKeys, encoding, page }: Listing): Response {
  const name = (text: string) => (encoding === "url" ? encodeURIComponent(text).replaceAll("%2F", "/") : text);
  const contents = page.objects.map(({ key, uploaded, httpEtag, size }) =>
    [
      "<Contents>",
      element("Key", name(key)),
      element("LastModified", uploaded.toISOString()),
      element("ETag", httpEtag),
      element("Size", size),
      "<StorageClass>STANDARD</StorageClass></Contents>",
    ].join(""),
  );
  const folders = page.delimitedPrefixes.map(
    (each) => `<CommonPrefixes>${element("Prefix", name(each))}</CommonPrefixes>`,
  );
  const head = [
    element("Name", bucket),
    element("Prefix", name(prefix)),
    ...(delimiter ? [element("Delimiter", name(delimiter))] : []),
    ...(encoding ? [element("EncodingType", encoding)] : []),
    element("MaxKeys", maxKeys),
    element("KeyCount", contents.length + folders.length),
    element("IsTruncated", page.truncated),
    ...(page.truncated ? [element("NextContinuationToken", page.cursor)] : []),
  ];
  const namespace = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';
  return document(
    `<ListBucketResult ${namespace}>${[...head, ...contents, ...folders].join("")}</ListBucketResult>`,
    200,
  );
}
