import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readStoreAccess } from './store-access.ts';

it('reads the files of a mounted Secret, and says which is missing', ({ onTestFinished }) => {
  const folder = mkdtempSync(join(tmpdir(), 'fluvia-access-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const put = (key: string, text: string): void => writeFileSync(join(folder, key), text);
  put('endpoint', 'http://s3:9000\n');
  put('bucket', 'b');
  put('accessKey', 'a');
  expect(() => readStoreAccess(folder)).toThrow(/Secret has no secretKey/);
  put('secretKey', 's');
  expect(readStoreAccess(folder)).toEqual({
    endpoint: 'http://s3:9000',
    bucket: 'b',
    region: 'us-east-1',
    accessKey: 'a',
    secretKey: 's',
  });
  put('region', 'eu-1');
  expect(readStoreAccess(folder).region).toBe('eu-1');
});
