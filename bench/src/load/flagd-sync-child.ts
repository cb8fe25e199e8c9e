/** flagd's side of its sync protocol, `flagd.sync.v1`: a gRPC stream to each provider, on which every configuration goes out. */
import { Server, ServerCredentials, type ServerWritableStream } from "@grpc/grpc-js";
import { sharedNowMs } from "./clock.ts";
import { serve } from "./peer.ts";

const FLAG = "writes_disabled";
const SYNC_FLAGS = "/flagd.sync.v1.FlagSyncService/SyncFlags";
/** Field 1 of a `SyncFlagsResponse`, `flag_configuration`: a string, which has its length before it. */
const FLAG_CONFIGURATION_TAG = 0x0a;

type Stream = ServerWritableStream<Buffer, Buffer>;

const streams = new Set<Stream>();
const server = new Server();
let isEngaged = false;

const skills = {
  async start(): Promise<{ port: number }> {
    const asIs = (bytes: Buffer) => bytes;
    server.addService(
      {
        SyncFlags: {
          path: SYNC_FLAGS,
          requestStream: false,
          responseStream: true,
          requestSerialize: asIs,
          requestDeserialize: asIs,
          responseSerialize: asIs,
          responseDeserialize: asIs,
        },
      },
      {
        SyncFlags: (stream: Stream) => {
          streams.add(stream);
          stream.on("close", () => streams.delete(stream));
          stream.on("cancelled", () => streams.delete(stream));
          stream.on("error", () => streams.delete(stream));
          stream.write(response());
        },
      },
    );
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    return { port };
  },
  /** Writes the switch, turned, to every stream. Answers when it began to, on the shared clock. */
  flip(): number {
    isEngaged = !isEngaged;
    const startMs = sharedNowMs();
    const bytes = response();
    for (const stream of streams) stream.write(bytes);
    return startMs;
  },
};
export type FlagdSyncSkills = typeof skills;

function response(): Buffer {
  const defaultVariant = isEngaged ? "on" : "off";
  const flag = { state: "ENABLED", variants: { on: true, off: false }, defaultVariant };
  const text = Buffer.from(JSON.stringify({ flags: { [FLAG]: flag } }));
  const length: number[] = [];
  for (let left = text.length; ; left >>>= 7) {
    if (left < 0x80) {
      length.push(left);
      break;
    }
    length.push((left & 0x7f) | 0x80);
  }
  return Buffer.concat([Buffer.from([FLAG_CONFIGURATION_TAG, ...length]), text]);
}

serve(skills);
