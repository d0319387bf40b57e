import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from '../../runtime/log.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import type { WebhookCertificate } from './certificate-store.ts';
import { planAdmission, type AdmittedStrategy } from './plan-admission.ts';

/** Paths that the two MutatingWebhookConfigurations call: the path tells the namespace's strategy. */
export const ADMISSION_PATHS: Readonly<Record<string, AdmittedStrategy>> = {
  '/admit/remote': 'remote',
  '/admit/local-and-remote': 'local-and-remote',
};

/** The API server's own limit of a request is 3 MiB. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;
const REQUEST_TIMEOUT_MS = 10_000;

interface AdmissionReview {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly request?: {
    readonly uid?: string;
    readonly operation?: string;
    readonly object?: Pod;
    readonly resource?: { readonly group?: string; readonly resource?: string };
    readonly subResource?: string;
  };
}

export interface WebhookServerOptions {
  readonly log: Logger;
  readonly certificate: WebhookCertificate;
  readonly isLeaderAlive: () => boolean;
}

const readBody = async (request: IncomingMessage): Promise<string | undefined> => {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
};

const answer = (response: ServerResponse, status: number, body: unknown): void => {
  const payload = typeof body === 'string' ? body : JSON.stringify(body);
  response.writeHead(status, {
    'content-type': typeof body === 'string' ? 'text/plain' : 'application/json',
    'content-length': Buffer.byteLength(payload),
  });
  response.end(payload);
};

/** The AdmissionReview that answers one, or undefined when it isn't one. */
export const review = (body: string, strategy: AdmittedStrategy, leaderAlive: boolean): unknown => {
  let parsed: AdmissionReview;
  try {
    parsed = JSON.parse(body) as AdmissionReview;
  } catch {
    return undefined;
  }
  const request = parsed?.request;
  if (parsed?.kind !== 'AdmissionReview' || typeof request?.uid !== 'string') return undefined;
  const concerns =
    request.operation === 'CREATE' &&
    request.resource?.resource === 'pods' &&
    (request.subResource ?? '') === '' &&
    Array.isArray(request.object?.spec?.containers);
  const patch =
    concerns && request.object ? planAdmission({ pod: request.object, strategy, leaderAlive }) : [];
  return {
    apiVersion: parsed.apiVersion ?? 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    response: {
      uid: request.uid,
      allowed: true,
      ...(patch.length === 0
        ? {}
        : { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') }),
    },
  };
};

/** Makes the webhook's HTTPS server; nothing listens yet. Stateless: any replica answers any request. */
export const createWebhookServer = (options: WebhookServerOptions): Server => {
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = (request.url ?? '').split('?')[0] ?? '';
    const strategy = ADMISSION_PATHS[path];
    if (request.method === 'GET' && path === '/healthz') return answer(response, 200, 'ok');
    if (request.method !== 'POST' || strategy === undefined) return answer(response, 404, 'not found');
    const body = await readBody(request);
    if (body === undefined) return answer(response, 413, 'too large');
    const result = review(body, strategy, options.isLeaderAlive());
    return result === undefined
      ? answer(response, 400, 'not an AdmissionReview')
      : answer(response, 200, result);
  };
  const server = createServer(
    {
      cert: options.certificate.serving.cert,
      key: options.certificate.serving.key,
      minVersion: 'TLSv1.2',
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
    },
    (request, response) => {
      handle(request, response).catch((err: unknown) => {
        options.log.warn('admission request failed', { err });
        if (response.headersSent) response.destroy();
        else answer(response, 500, 'failed');
      });
    },
  );
  server.maxConnections = 512;
  return server;
};
