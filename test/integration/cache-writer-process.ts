/**
 * Replaces a cache file as fast as it can until it is killed, and says when it has begun to.
 */
import { encodeCache } from "../../provider/src/cache/codec.ts";
import { replaceFile } from "../../provider/src/cache/file.ts";
import { flag } from "../provider/documents.ts";

const [path = "", server = ""] = process.argv.slice(2);
const HEADER = { server, token: "a".repeat(64), sdk: "test", writtenAt: "2026-01-02T03:04:05.678Z" };

for (let revision = 1; ; revision++) {
  const cursor = { epoch: "e".repeat(32), revision, mark: `${revision}`.padStart(16, "0") };
  // Lengths that grow and shrink, over several pieces.
  const documents = Array.from({ length: 1 + (revision % 7) * 300 }, (_, i) => flag(`flag-${i}-${"x".repeat(90)}`, {}));
  await replaceFile(path, encodeCache({ ...HEADER, cursor }, documents), 1024 * 1024 * 1024);
  process.send?.(revision);
}
