/** Gets each frame: RFC 9113's type, flags, stream and payload. The payload is only good until it returns. */
export type OnFrame = (type: number, flags: number, stream: number, payload: Buffer) => void;

/** Takes bytes as they come and passes on whole frames. */
export function frameReader(onFrame: OnFrame): (bytes: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (bytes) => {
    const all = rest.length ? Buffer.concat([rest, bytes]) : bytes;
    let at = 0;
    while (at + 9 <= all.length) {
      const end = at + 9 + all.readUIntBE(at, 3);
      if (end > all.length) break;
      onFrame(all[at + 3] as number, all[at + 4] as number, all.readUInt32BE(at + 5), all.subarray(at + 9, end));
      at = end;
    }
    rest = at === all.length ? Buffer.alloc(0) : all.subarray(at);
  };
}
