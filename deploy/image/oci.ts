/** A folder as a one-layer, reproducible OCI archive that `ctr images import`, skopeo and podman take. */
import { createHash } from 'node:crypto';
import { createWriteStream, renameSync, rmSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { CLOSING, entriesBelow, fileHeader, padding, tarOf, type TarEntry } from './tar.ts';

/** What goes into an image. */
export interface OciImage {
  /** Full name with its registry host and tag, such as `fluvia.local/web:1`: containerd imports it under this name. */
  readonly name: string;
  /** The folder that becomes `/`. */
  readonly root: string;
  /** The archive to write; it appears under its name only when it is whole. */
  readonly out: string;
  /** Empty: none, so that a pod's `args` are a whole command. */
  readonly entrypoint: readonly string[];
  /** Default `PATH` only. */
  readonly env?: Readonly<Record<string, string>>;
  /** `uid` or `uid:gid`; default root. */
  readonly user?: string;
  readonly cmd?: readonly string[];
  readonly workingDir?: string;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

const MEDIA = 'application/vnd.oci.image.';
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const architecture = process.arch === 'x64' ? 'amd64' : process.arch;

const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

const descriptor = (kind: string, data: Buffer): Descriptor => ({
  mediaType: MEDIA + kind,
  digest: `sha256:${sha256(data)}`,
  size: data.length,
});

const measure = async (entries: readonly TarEntry[]): Promise<{ digest: string; size: number }> => {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of tarOf(entries)) {
    hash.update(chunk);
    size += chunk.length;
  }
  return { digest: hash.digest('hex'), size };
};

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

async function* archive(
  files: readonly { readonly path: string; readonly data: Buffer }[],
  layer: { readonly path: string; readonly size: number },
  entries: readonly TarEntry[],
): AsyncGenerator<Buffer> {
  for (const { path, data } of files)
    yield Buffer.concat([fileHeader(path, data.length), data, padding(data.length)]);
  yield fileHeader(layer.path, layer.size);
  yield* tarOf(entries);
  yield padding(layer.size);
  yield CLOSING;
}

/**
 * Writes the image; the same folder gives the same bytes on every machine of one architecture.
 * @returns the digest of its manifest, `sha256:…`, which is the image's identity.
 */
export const writeOciArchive = async (image: OciImage): Promise<string> => {
  const entries = entriesBelow(image.root);
  // read twice rather than held in memory: the layer's digest is its name, and the name comes before the bytes
  const layer = await measure(entries);
  const env = Object.entries({ PATH, ...image.env }).map(([key, value]) => `${key}=${value}`);
  const config = json({
    architecture,
    os: 'linux',
    config: {
      ...(image.entrypoint.length === 0 ? {} : { Entrypoint: image.entrypoint }),
      Env: env,
      ...(image.cmd === undefined ? {} : { Cmd: image.cmd }),
      ...(image.user === undefined ? {} : { User: image.user }),
      ...(image.workingDir === undefined ? {} : { WorkingDir: image.workingDir }),
    },
    rootfs: { type: 'layers', diff_ids: [`sha256:${layer.digest}`] },
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: `${MEDIA}manifest.v1+json`,
    config: descriptor('config.v1+json', config),
    layers: [{ mediaType: `${MEDIA}layer.v1.tar`, digest: `sha256:${layer.digest}`, size: layer.size }],
  });
  const entry: Descriptor = {
    ...descriptor('manifest.v1+json', manifest),
    annotations: {
      'io.containerd.image.name': image.name,
      'org.opencontainers.image.ref.name': image.name.slice(image.name.lastIndexOf(':') + 1),
    },
  };
  const index = json({ schemaVersion: 2, mediaType: `${MEDIA}index.v1+json`, manifests: [entry] });
  const files = [
    { path: 'oci-layout', data: json({ imageLayoutVersion: '1.0.0' }) },
    { path: 'index.json', data: index },
    { path: `blobs/sha256/${sha256(config)}`, data: config },
    { path: `blobs/sha256/${sha256(manifest)}`, data: manifest },
  ];
  const half = `${image.out}.${process.pid}.tmp`;
  try {
    const bytes = archive(files, { path: `blobs/sha256/${layer.digest}`, size: layer.size }, entries);
    await pipeline(Readable.from(bytes), createWriteStream(half));
    renameSync(half, image.out);
  } finally {
    rmSync(half, { force: true });
  }
  return entry.digest;
};
