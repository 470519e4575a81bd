import type { Random } from './random.ts';

type Mutation = (bytes: Buffer, random: Random, other: Buffer) => Buffer;

/** Pieces of protobuf that no honest encoder writes. */
const PIECES: readonly Buffer[] = [
  Buffer.alloc(11, 0xff), // a varint without an end
  Buffer.from([0x00, 0x01]), // field 0
  Buffer.from([0xf8, 0xff, 0xff, 0xff, 0x0f, 0x01]), // the last of all fields
  Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]), // a length over all bounds
  Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), // a negative one
  Buffer.from([0x08, 0x01]), // numbers, 64 and 32 bits where text is
  Buffer.from([0x09, 1, 2, 3, 4, 5, 6, 7, 8]),
  Buffer.from([0x0d, 1, 2, 3, 4]),
  Buffer.from([0x0f]), // wire types 7 and 6
  Buffer.from([0x0e]),
  Buffer.from([0x0c]), // the end of a group that never began
  Buffer.alloc(9_000, 0x0b), // groups in groups
  Buffer.concat([Buffer.alloc(9_000, 0x0b), Buffer.alloc(9_000, 0x0c)]),
  Buffer.from([0x0a, 0x02, 0xff, 0xfe]), // text that is no UTF-8
  Buffer.from([0x0a, 0x03, 0xed, 0xa0, 0x80]), // half of a pair
  Buffer.from([0x92, 0x3f, 0x03, 1, 2, 3]), // an unknown field
  Buffer.concat(Array.from({ length: 2_000 }, () => Buffer.from([0x92, 0x3f, 0x00]))),
  Buffer.concat(Array.from({ length: 2_000 }, () => Buffer.from([0x12, 0x00]))), // thousands of empty messages
  Buffer.alloc(70_000, 0x0a),
];

const MUTATIONS: readonly Mutation[] = [
  (bytes, random) => {
    const copy = Buffer.from(bytes);
    for (let i = random.below(4) + 1; i > 0 && copy.length > 0; i--) {
      const at = random.below(copy.length);
      copy.writeUInt8(copy.readUInt8(at) ^ (1 << random.below(8)), at);
    }
    return copy;
  },
  (bytes, random) => bytes.subarray(0, random.below(bytes.length + 1)),
  (bytes, random) => bytes.subarray(random.below(bytes.length + 1)),
  (bytes, random) => spliced(bytes, random, random.pick(PIECES)),
  (bytes, random) => Buffer.concat([bytes, random.pick(PIECES)]),
  (bytes, random) => spliced(bytes, random, random.bytes(random.below(40))),
  (bytes, random, other) => spliced(bytes, random, other.subarray(random.below(other.length + 1))),
  (bytes, _random, other) => Buffer.concat([bytes, other]),
  (bytes, random) => Buffer.concat(Array.from({ length: random.below(50) + 1 }, () => bytes)).subarray(0, 80_000),
];

/** `bytes`, wrong in one to three ways; `other` is what parts may be taken from. */
export function mutateBytes(bytes: Buffer, random: Random, other: Buffer): Buffer {
  let mutated = bytes;
  for (let i = random.below(3); i >= 0; i--) mutated = random.pick(MUTATIONS)(mutated, random, other);
  return mutated;
}

function spliced(bytes: Buffer, random: Random, piece: Buffer): Buffer {
  const at = random.below(bytes.length + 1);
  return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
}
