/**
 * Two clusters with equal CIDRs on the kernel's own WireGuard, by the real planners and adapters. Runs inside the virtual
 * machine of `boot.sh`, whose kernel has it; fails with a message.
 */
import assert from 'node:assert/strict';
import { seenAs } from '../../api/views.ts';
import { createCluster, type TestCluster } from '../host/cluster.ts';
import { createLab, type LabNode, type LabPod } from '../host/lab.ts';

const say = (line: string): void => void process.stdout.write(`${process.uptime().toFixed(0)} s  ${line}\n`);

const linksOf = async (node: LabNode): Promise<string> =>
  `${await node.exec('ip', ['-o', 'link'])}${await node.exec('nft', ['list', 'tables'])}`.replaceAll(
    /state (?:UNKNOWN|UP)/g,
    '',
  );

/** What the other pod answers, without a Node.js of its own: here that takes half a minute to start. */
const request = async (from: LabPod, address: string): Promise<string> => {
  const script = `exec 3<>/dev/tcp/${address}/8080 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3 | tail -n 1`;
  return (await from.exec('bash', ['-c', script], { timeoutMs: 60_000 })).trim();
};

const lab = await createLab();
try {
  const nodes = [await lab.node('a1', 11, 0), await lab.node('b1', 21, 0)] as const;
  const pods = [await lab.pod(nodes[0], 5), await lab.pod(nodes[1], 5)] as const;
  const before = await Promise.all(nodes.map(linksOf));
  const clusters = [
    createCluster('a', [nodes[0]], ['10.128.0.0/13']),
    createCluster('b', [nodes[1]], ['10.136.0.0/13']),
  ] as const;
  const syncAll = async (): Promise<number> => {
    let actions = 0;
    for (const cluster of clusters) actions += (await cluster.sync()).length;
    return actions;
  };
  const converge = async (): Promise<void> => {
    const [a, b] = clusters;
    for (let round = 0; round < 3; round += 1) {
      a.learn(new Map([['b', b.publish('a')]]));
      b.learn(new Map([['a', a.publish('b')]]));
      await syncAll();
    }
  };
  await converge();
  assert.equal(await syncAll(), 0, 'a further round has nothing to do');
  for (const node of nodes) {
    const link = await node.exec('ip', ['-d', '-o', 'link', 'show', 'fluvia0']);
    assert.match(link, /\bwireguard\b/, `the kernel's device on ${node.name}: ${link}`);
    const asked = await node.exec('sh', ['-c', 'ls /run/wireguard']);
    assert.ok(!asked.includes('fluvia0.sock'), 'nobody else serves it');
  }
  say('the kernel has made both devices');

  const addressOf = (from: TestCluster, to: TestCluster, address: string): string =>
    seenAs(from.views().get(to.name)?.spec.theirs ?? [], address) ?? '';
  for (const [cluster, peer] of [
    [clusters[0], 'b'],
    [clusters[1], 'a'],
  ] as const)
    cluster.offer(peer, [{ cidr: '10.244.0.0/16' }]);
  await syncAll();
  for (const [from, to] of [
    [0, 1],
    [1, 0],
  ] as const) {
    const target = addressOf(clusters[from], clusters[to], pods[to].address);
    const source = addressOf(clusters[to], clusters[from], pods[from].address);
    assert.equal(await request(pods[from], target), source);
    say(`pod ${pods[from].node.name} reaches ${target}, and is seen as ${source}`);
  }
  for (const [index, cluster] of clusters.entries()) {
    const device = await cluster.hosts.get(nodes[index]?.name ?? '')?.wireguard();
    const [peer] = device?.peers ?? [];
    assert.ok((peer?.latestHandshake ?? 0) > 0 && (peer?.rxBytes ?? 0) > 0, 'handshake and bytes are told');
  }

  // The kernel's device takes its key with it: peers hear of the new one.
  await nodes[0].exec('ip', ['link', 'delete', 'fluvia0']);
  await converge();
  assert.equal(await syncAll(), 0, 'a further round has nothing to do');
  const again = addressOf(clusters[0], clusters[1], pods[1].address);
  assert.notEqual(await request(pods[0], again), '');
  say('a device that was deleted is made again, and found by its new key');

  for (const cluster of clusters) cluster.remove();
  await syncAll();
  assert.deepEqual(await Promise.all(nodes.map(linksOf)), before, 'nothing is left');
  say('removed; nothing is left');
} finally {
  await lab.close();
}
process.stdout.write('KERNEL-WIREGUARD-OK\n');
process.exit(0);
