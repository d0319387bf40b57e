/** The few calls that bringing a cluster up needs, without a process per call. Not the product's client: that one is `runtime/kube/`. */
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';

export interface ApiAnswer {
  readonly status: number;
  readonly body: unknown;
}

export class ApiClient {
  readonly #agent: Agent;
  readonly #server: string;

  /** @param folder of the cluster's keys, as `writePki` fills it. */
  constructor(server: string, folder: string) {
    const read = (file: string): Buffer => readFileSync(`${folder}/${file}`);
    this.#server = server;
    this.#agent = new Agent({
      keepAlive: true,
      maxSockets: 4,
      ca: read('ca.crt'),
      cert: read('admin.crt'),
      key: read('admin.key'),
    });
  }

  /** Status 0 when there was no answer within 5 s. */
  call(method: string, path: string, body?: unknown, contentType = 'application/json'): Promise<ApiAnswer> {
    return new Promise((resolve) => {
      const none = (): void => resolve({ status: 0, body: undefined });
      const call = request(
        `${this.#server}${path}`,
        {
          method,
          agent: this.#agent,
          timeout: 5000,
          headers: { accept: 'application/json', 'content-type': contentType },
        },
        (answer) => {
          let text = '';
          answer.setEncoding('utf8').on('data', (part: string) => (text += part));
          answer.on('error', none);
          answer.on('end', () => {
            try {
              resolve({ status: answer.statusCode ?? 0, body: JSON.parse(text) });
            } catch {
              resolve({ status: answer.statusCode ?? 0, body: text });
            }
          });
        },
      );
      call.on('error', none);
      call.on('timeout', () => call.destroy());
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** Server-side apply as field manager `testbed`. */
  apply(path: string, object: unknown): Promise<ApiAnswer> {
    return this.call(
      'PATCH',
      `${path}?fieldManager=testbed&force=true`,
      object,
      'application/apply-patch+yaml',
    );
  }

  close(): void {
    this.#agent.destroy();
  }
}
