/** WebSockets of the gateway, frame by frame, and of the yardstick: no SDK takes part. */
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { proto } from "../schemas/index.ts";
import type { Gateway } from "./gateway.ts";

export class Socket {
  readonly #socket: WebSocket;
  #frame: (frame: proto.Frame) => void = () => {};
  #pong: () => void = () => {};

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => {
      if (typeof data === "string") this.#pong();
      else this.#frame(fromBinary(proto.FrameSchema, new Uint8Array(data as ArrayBuffer)));
    });
  }

  static async open(gateway: Gateway): Promise<Socket> {
    const url = gateway.url("ws");
    url.protocol = "ws:";
    const socket = new WebSocket(url.href, ["lakesync.v1", `bearer.${gateway.token}`]);
    await opened(socket);
    return new Socket(socket);
  }

  onFrame(handler: (frame: proto.Frame) => void): void {
    this.#frame = handler;
  }

  send(frame: MessageInitShape<typeof proto.FrameSchema>): void {
    this.#socket.send(toBinary(proto.FrameSchema, create(proto.FrameSchema, frame)));
  }

  /** What the runtime answers for the hub, without waking it: a text of four letters there and back. */
  ping(): Promise<void> {
    return new Promise((done) => {
      this.#pong = done;
      this.#socket.send("ping");
    });
  }

  close(): void {
    this.#socket.close();
  }
}

/** A socket whose other end sends back what comes. */
export class Echo {
  readonly #socket: WebSocket;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  static async open(url: URL): Promise<Echo> {
    const socket = new WebSocket(url.href.replace(/^http/, "ws"));
    await opened(socket);
    return new Echo(socket);
  }

  /** There and back. */
  send(bytes: Uint8Array): Promise<void> {
    return new Promise((done) => {
      this.#socket.addEventListener("message", () => done(), { once: true });
      this.#socket.send(bytes);
    });
  }

  close(): void {
    this.#socket.close();
  }
}

const opened = (socket: WebSocket): Promise<void> =>
  new Promise((done, fail) => {
    socket.addEventListener("open", () => done(), { once: true });
    socket.addEventListener("error", () => fail(new Error("The socket did not open.")), { once: true });
  });
