/** A WebSocket of the gateway, frame by frame: no SDK takes part. */
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
    await new Promise((done, fail) => {
      socket.addEventListener("open", done, { once: true });
      socket.addEventListener("error", () => fail(new Error("The socket did not open.")), { once: true });
    });
    return new Socket(socket);
  }

  onFrame(handler: (frame: proto.Frame) => void): void {
    this.#frame = handler;
  }

  send(frame: MessageInitShape<typeof proto.FrameSchema>): void {
    this.#socket.send(toBinary(proto.FrameSchema, create(proto.FrameSchema, frame)));
  }

  /** The hub's own echo: a text of four letters there and back, through the same Worker, hub and socket. */
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
