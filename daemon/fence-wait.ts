/**
 * `fluviad fence-wait`: the init container of a pod that may run only on a lease. Asks its node's agent until it says yes.
 * A yes is about this moment: from then on the provider's leader stops the pod when the lease ends.
 */
import { request } from 'node:http';
import { PORTS } from '../api/labels.ts';
import { required } from './environment.ts';

const AGAIN_MS = 300;
const PATIENCE_MS = 2000;

const ask = (host: string, path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const call = request({ host, port: PORTS.fence, path, timeout: PATIENCE_MS, agent: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    });
    call.on('timeout', () => call.destroy(new Error('no answer')));
    call.on('error', () => resolve(false));
    call.end();
  });

const main = async (): Promise<void> => {
  const host = required('HOST_IP');
  const path = `/lease/${required('FLUVIA_HOME')}/${required('FLUVIA_POD')}`;
  process.on('SIGTERM', () => process.exit(143));
  let isTold = false;
  while (!(await ask(host, path))) {
    if (!isTold) process.stdout.write('waiting for a lease of the home cluster\n');
    isTold = true;
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
};

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
