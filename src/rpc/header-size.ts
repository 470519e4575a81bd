/** The size of a header list as HTTP/2 counts it: 32 bytes for each entry on top. */
export function headerSize(headers: Headers): number {
  let size = 0;
  headers.forEach((value, key) => {
    size += key.length + value.length + 32;
  });
  return size;
}
