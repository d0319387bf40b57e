/** Splits a byte stream into lines, as a watch sends them: one JSON document each. */

/** LineTooLongError: a line exceeded the decoder's limit, so the rest of the stream can't be trusted. */
export class LineTooLongError extends Error {
  override readonly name = 'LineTooLongError';
}

export interface LineDecoder {
  /** Takes bytes, however they are cut, and returns the lines that they complete, without empty ones. */
  push(chunk: Uint8Array): string[];
  /** Bytes of an unfinished line. */
  readonly pendingBytes: number;
}

const newline = 0x0a;

/**
 * createLineDecoder makes a decoder for lines of at most `maxBytes`.
 * @throws {LineTooLongError} from `push`.
 */
export const createLineDecoder = (maxBytes: number): LineDecoder => {
  let parts: Buffer[] = [];
  let size = 0;
  const keep = (part: Buffer): void => {
    size += part.length;
    if (size > maxBytes) throw new LineTooLongError(`a line is longer than ${maxBytes} bytes`);
    if (part.length > 0) parts.push(part);
  };
  const take = (): string => {
    const line = parts.length === 1 && parts[0] ? parts[0].toString() : Buffer.concat(parts).toString();
    parts = [];
    size = 0;
    return line;
  };
  return {
    push: (chunk) => {
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      const lines: string[] = [];
      let start = 0;
      for (let end = bytes.indexOf(newline); end >= 0; end = bytes.indexOf(newline, start)) {
        keep(bytes.subarray(start, end));
        const line = take();
        if (line.trim() !== '') lines.push(line);
        start = end + 1;
      }
      keep(bytes.subarray(start));
      return lines;
    },
    get pendingBytes() {
      return size;
    },
  };
};
