/** What `install --object-store` and `--s3-secret` mean for a cluster, and what an upgrade without them keeps. */
import { randomBytes } from 'node:crypto';
import { NAMES, SYSTEM_NAMESPACE } from '../api/labels.ts';
import { QuantityString } from '../api/quantity.ts';
import type { ObjectStoreOptions } from '../deploy/manifests/options.ts';
import { ACCESS_VOLUME } from '../deploy/manifests/store.ts';
import type { KubeClient } from '../runtime/kube/client.ts';
import { DEPLOYMENT, PERSISTENT_VOLUME_CLAIM, SECRET } from '../runtime/kube/resources.ts';
import type { KubeObject, Secret } from '../runtime/kube/types.ts';
import { usageError } from './exit.ts';

/** The flags, as commander gives them. */
export interface ObjectStoreFlags {
  readonly objectStore?: string | boolean;
  readonly s3Secret?: string;
  readonly objectStoreSize?: string;
  readonly objectStoreClass?: string;
  readonly objectStoreImage?: string;
}

/** Image of the embedded S3 server, as this repository builds it. */
const EMBEDDED_IMAGE = 'fluvia.local/versitygw:1';
const FIELDS = ['endpoint', 'bucket', 'accessKey', 'secretKey'] as const;

interface Workload extends KubeObject {
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly containers: readonly { readonly image: string }[];
        readonly volumes?: readonly {
          readonly name: string;
          readonly secret?: { readonly secretName?: string };
        }[];
      };
    };
  };
}
interface Claim extends KubeObject {
  readonly spec: {
    readonly storageClassName?: string;
    readonly resources?: { readonly requests?: { readonly storage?: string } };
  };
}

const checkSecret = async (client: KubeClient, name: string): Promise<void> => {
  const secret = await client.get<Secret>(SECRET, name, SYSTEM_NAMESPACE);
  const missing = FIELDS.filter((field) => (secret?.data?.[field] ?? '') === '');
  if (missing.length === 0) return;
  throw usageError(
    secret === undefined
      ? `Secret ${SYSTEM_NAMESPACE}/${name} doesn't exist`
      : `Secret ${SYSTEM_NAMESPACE}/${name} has no ${missing.join(', ')}`,
    `kubectl -n ${SYSTEM_NAMESPACE} create secret generic ${name} --from-literal=endpoint=https://HOST:PORT --from-literal=bucket=BUCKET --from-literal=region=REGION --from-file=accessKey --from-file=secretKey`,
  );
};

/** Credentials for a new embedded server; undefined when it has its Secret. */
const newCredentials = async (
  client: KubeClient,
): Promise<{ readonly accessKey: string; readonly secretKey: string } | undefined> =>
  (await client.get(SECRET, NAMES.objectStore, SYSTEM_NAMESPACE)) === undefined
    ? { accessKey: 'fluvia', secretKey: randomBytes(24).toString('base64url') }
    : undefined;

const embeddedOptions = async (
  client: KubeClient,
  env: NodeJS.ProcessEnv,
  flags: ObjectStoreFlags,
): Promise<ObjectStoreOptions> => {
  const [server, claim, credentials] = await Promise.all([
    client.get<Workload>(DEPLOYMENT, NAMES.objectStore, SYSTEM_NAMESPACE),
    client.get<Claim>(PERSISTENT_VOLUME_CLAIM, NAMES.objectStore, SYSTEM_NAMESPACE),
    newCredentials(client),
  ]);
  const size = flags.objectStoreSize ?? claim?.spec.resources?.requests?.storage;
  const storageClass = claim === undefined ? flags.objectStoreClass : claim.spec.storageClassName;
  if (size !== undefined && !QuantityString.safeParse(size).success) {
    throw usageError(`"${size}" is not a size`, 'write a quantity: --object-store-size 20Gi');
  }
  if (server !== undefined && claim === undefined && size !== undefined) {
    throw usageError(
      'the embedded object store keeps its data in its pod; a claim for it would begin empty',
      `move what it holds first, or remove it: kubectl -n ${SYSTEM_NAMESPACE} delete deployment ${NAMES.objectStore}`,
    );
  }
  return {
    secretName: NAMES.objectStore,
    embedded: {
      image:
        flags.objectStoreImage ??
        env['FLUVIA_OBJECT_STORE_IMAGE'] ??
        server?.spec.template.spec.containers[0]?.image ??
        EMBEDDED_IMAGE,
      ...(size === undefined ? {} : { size }),
      ...(storageClass === undefined ? {} : { storageClass }),
      ...(credentials === undefined ? {} : { credentials }),
    },
  };
};

/** The store to install; undefined when none is asked for and none is there. Throws usage errors that say what to type. */
export const planObjectStore = async (
  client: KubeClient,
  env: NodeJS.ProcessEnv,
  flags: ObjectStoreFlags,
): Promise<ObjectStoreOptions | undefined> => {
  const { objectStore, s3Secret } = flags;
  if (objectStore !== undefined && objectStore !== true && objectStore !== 'embedded') {
    throw usageError(
      `--object-store=${String(objectStore)} is none that can be installed`,
      'write --object-store for the embedded one, or --s3-secret NAME for an S3 of your own',
    );
  }
  if (objectStore !== undefined && s3Secret !== undefined) {
    throw usageError('--object-store and --s3-secret exclude each other', 'give one of them');
  }
  if (s3Secret !== undefined) {
    await checkSecret(client, s3Secret);
    return { secretName: s3Secret };
  }
  if (objectStore !== undefined) return embeddedOptions(client, env, flags);
  const front = await client.get<Workload>(DEPLOYMENT, NAMES.store, SYSTEM_NAMESPACE);
  if (front === undefined) return undefined;
  const secret = front.spec.template.spec.volumes?.find(({ name }) => name === ACCESS_VOLUME)?.secret
    ?.secretName;
  return secret === undefined || secret === NAMES.objectStore
    ? embeddedOptions(client, env, flags)
    : { secretName: secret };
};
