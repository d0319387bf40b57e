import { readFileSync } from 'node:fs';
import { Option, type Command } from 'commander';
import { ERROR_CODES, FluviaError, messageOf } from '../../api/errors.ts';
import { NAMES, SYSTEM_NAMESPACE } from '../../api/labels.ts';
import type { Peer, PeerRole } from '../../api/v1alpha1/peer.ts';
import { fluviaRef } from '../../deploy/manifests/refs.ts';
import { readPublicIdentity, type PublicIdentity } from '../../peering/identity.ts';
import { createInvite, requestJoin, requestUnpeer } from '../../peering/requests.ts';
import {
  connect,
  withCluster,
  withClusterFlags,
  type CliContext,
  type Cluster,
  type ClusterFlags,
} from '../context.ts';
import { usageError } from '../exit.ts';
import { fencedText, forgetPeer, leftThereText, readLeftThere } from '../forget-peer.ts';
import { volumesAt } from '../volumes-at-peers.ts';
import { positive, repeatable, seconds } from '../flags.ts';
import { requireInstallation } from '../installation.ts';
import { peeringProgress, type PeerSide } from '../peer-progress.ts';
import { waitUntil } from '../wait.ts';

type RoleFlag = 'provider' | 'consumer' | 'both';

interface PeerFlags extends ClusterFlags {
  readonly remoteKubeconfig?: string;
  readonly remoteContext?: string;
  readonly role: RoleFlag;
  readonly endpoint?: readonly string[];
  readonly wait: boolean;
  readonly timeout: number;
  readonly dryRun?: boolean;
}

interface InviteFlags extends ClusterFlags {
  readonly role: RoleFlag;
  readonly endpoint?: readonly string[];
  readonly uses: number;
  readonly expires: number;
}

interface JoinFlags extends ClusterFlags {
  readonly wait: boolean;
  readonly timeout: number;
}

interface UnpeerFlags extends ClusterFlags {
  readonly remoteKubeconfig?: string;
  readonly remoteContext?: string;
  readonly forget?: boolean;
  readonly force?: boolean;
  readonly timeout: number;
}

const PEER = fluviaRef('Peer');

/** How long `--forget` lets the controller end a peering in good order. */
const FORGET_MS = 15_000;

/** What the other cluster is to this one. */
const rolesOf = (flag: RoleFlag): readonly PeerRole[] =>
  flag === 'both' ? ['Provider', 'Consumer'] : [flag === 'provider' ? 'Provider' : 'Consumer'];

/** What this cluster is to the other, if the other is `roles` to this one. */
const mirrored = (roles: readonly PeerRole[]): readonly PeerRole[] =>
  roles.map((role) => (role === 'Provider' ? 'Consumer' : 'Provider'));

/** Identity of an installed cluster; waits for a controller that has only just been installed. */
const identityOf = async (cli: CliContext, cluster: Cluster): Promise<PublicIdentity> => {
  await requireInstallation(cluster);
  return waitUntil(
    async () => {
      try {
        return {
          done: await readPublicIdentity(cluster.client, { namespace: SYSTEM_NAMESPACE, signal: cli.signal }),
        };
      } catch (error) {
        if (error instanceof FluviaError && error.code === ERROR_CODES.NOT_INSTALLED) {
          return { waitingFor: messageOf(error) };
        }
        throw error;
      }
    },
    {
      what: `the controller of ${cluster.source}`,
      timeoutMs: 20_000,
      signal: cli.signal,
      hint: `look: fluviactl status${cluster.flag}`,
    },
  );
};

/** Told before anything is made; the protocol would refuse it, too. */
const refuseTwins = (here: PublicIdentity, there: PublicIdentity): void => {
  if (here.clusterID === there.clusterID) {
    throw new FluviaError(
      ERROR_CODES.SAME_IDENTITY,
      'both kubeconfigs lead to clusters with the same identity',
      {
        kind: 'terminal',
        hint: `give two different clusters; if one is a copy of the other: kubectl -n ${SYSTEM_NAMESPACE} delete secret ${NAMES.identitySecret} in the copy, then restart its controller`,
      },
    );
  }
  if (here.name === there.name) {
    throw new FluviaError(ERROR_CODES.CONFLICT, `both clusters are called "${here.name}"`, {
      kind: 'terminal',
      hint: 'give one of them another name: fluviactl install --cluster-name NAME',
    });
  }
};

const sideOf = async (cluster: Cluster, own: string, peerName: string): Promise<PeerSide> => {
  const { client } = cluster;
  const list = async <T>(kind: string): Promise<readonly T[]> =>
    (await client.list(fluviaRef(kind))).items as unknown as readonly T[];
  const [peer, claims, virtualNodes] = await Promise.all([
    client.get<Peer>(PEER, peerName),
    list<PeerSide['claims'][number]>('Claim'),
    list<PeerSide['virtualNodes'][number]>('VirtualNode'),
  ]);
  return { cluster: own, peer, claims, virtualNodes };
};

const awaitPeering = (
  cli: CliContext,
  sides: readonly { readonly cluster: Cluster; readonly own: string; readonly other: string }[],
  timeoutMs: number,
): Promise<undefined> =>
  cli.steps.run('Link, tunnel and capacity stand', (note) =>
    waitUntil(
      async () => peeringProgress(await Promise.all(sides.map((s) => sideOf(s.cluster, s.own, s.other)))),
      {
        what: 'the peering',
        timeoutMs,
        signal: cli.signal,
        note,
        hint: `look: fluviactl info${sides[0]?.cluster.flag ?? ''}; running the command again goes on from here`,
      },
    ),
  );

const peerOf = async ({ client }: Cluster, identity: PublicIdentity): Promise<Peer | undefined> => {
  const peers = (await client.list(PEER)).items as unknown as readonly Peer[];
  return peers.find(
    (peer) => peer.spec.clusterID === identity.clusterID && peer.metadata.deletionTimestamp === undefined,
  );
};

const joinWithInvite = async (
  cli: CliContext,
  here: Cluster,
  there: Cluster,
  flags: PeerFlags,
): Promise<void> => {
  const { token, invite } = await cli.steps.run('Invite made at the other cluster', () =>
    createInvite(there.client, {
      roles: mirrored(rolesOf(flags.role)),
      ...(flags.endpoint === undefined ? {} : { endpoints: flags.endpoint }),
      validForMs: 10 * 60_000,
      signal: cli.signal,
    }),
  );
  try {
    await cli.steps.run(`Joined (dialled ${invite.endpoints.join(', ')})`, () =>
      requestJoin(here.client, token, { timeoutMs: 60_000, signal: cli.signal }),
    );
  } catch (error) {
    // nothing half-made: an invite that nobody will use
    await there.client.delete(fluviaRef('Invite'), invite.id).catch(() => undefined);
    throw error;
  }
};

const peer = async (cli: CliContext, flags: PeerFlags): Promise<void> => {
  if (flags.remoteKubeconfig === undefined && flags.remoteContext === undefined) {
    throw usageError(
      'the other cluster is not given',
      'give --remote-kubeconfig FILE; or, between two administrators: fluviactl invite there, fluviactl join here',
    );
  }
  const here = await connect(cli, flags);
  try {
    const remote: ClusterFlags = {
      ...(flags.remoteKubeconfig === undefined ? {} : { kubeconfig: flags.remoteKubeconfig }),
      ...(flags.remoteContext === undefined ? {} : { context: flags.remoteContext }),
    };
    await withCluster(cli, remote, async (there) => {
      const [own, other] = await cli.steps.run('Both clusters reached', () =>
        Promise.all([identityOf(cli, here), identityOf(cli, there)]),
      );
      refuseTwins(own, other);
      const roles = rolesOf(flags.role);
      if (flags.dryRun === true) {
        cli.terminal.out(
          `Would make an invite at ${other.name} and join with it from ${own.name}; ${other.name} becomes ${roles.join(' and ')} of ${own.name}.\n`,
        );
        return;
      }
      const [mine, theirs] = await Promise.all([peerOf(here, other), peerOf(there, own)]);
      if (mine === undefined || theirs === undefined) {
        await joinWithInvite(cli, here, there, flags);
      } else {
        cli.steps.say(`${own.name} and ${other.name} are peered already.`);
      }
      if (flags.wait) {
        await awaitPeering(
          cli,
          [
            { cluster: here, own: own.name, other: other.name },
            { cluster: there, own: other.name, other: own.name },
          ],
          flags.timeout,
        );
      }
      const fingerprint = (await peerOf(here, other))?.status?.fingerprint;
      cli.terminal.out(
        `${own.name} and ${other.name} are peered${fingerprint === undefined ? '' : ` (fingerprint ${fingerprint})`}.\n`,
      );
    });
  } finally {
    await here.client.close();
  }
};

const invite = async (cli: CliContext, flags: InviteFlags): Promise<void> =>
  withCluster(cli, flags, async (cluster) => {
    await identityOf(cli, cluster);
    const { token, invite: made } = await createInvite(cluster.client, {
      roles: rolesOf(flags.role),
      ...(flags.endpoint === undefined ? {} : { endpoints: flags.endpoint }),
      uses: flags.uses,
      validForMs: flags.expires,
      signal: cli.signal,
    });
    cli.steps.say(
      `Invite ${made.id}, valid until ${made.expiresAt}, reaches this cluster at ${made.endpoints.join(', ')}.`,
    );
    cli.steps.say('It is a secret: whoever has it can peer. Hand it over and run there: fluviactl join FILE');
    cli.steps.say(`Revoke it: kubectl${cluster.flag} delete invite ${made.id}`);
    cli.terminal.out(`${token}\n`);
  });

const readToken = async (cli: CliContext, file: string | undefined): Promise<string> => {
  if (file?.startsWith('fluvia1.') === true) {
    throw usageError(
      'an invite is a secret, and arguments can be read by others on this machine',
      'write it to a file and give the file, or pipe it: fluviactl join - < FILE',
    );
  }
  if (file === undefined || file === '-') {
    if (file === undefined && process.stdin.isTTY) {
      cli.steps.say('Paste the invite, then press Ctrl-D:');
    }
    return (await cli.readInput()).trim();
  }
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw usageError(
      `the invite can't be read: ${messageOf(error)}`,
      'give the file that holds it, or - for standard input',
    );
  }
};

const join = async (cli: CliContext, file: string | undefined, flags: JoinFlags): Promise<void> => {
  const token = await readToken(cli, file);
  await withCluster(cli, flags, async (cluster) => {
    const own = await identityOf(cli, cluster);
    const { peer: joined, fingerprint } = await cli.steps.run('Joined', () =>
      requestJoin(cluster.client, token, { timeoutMs: 60_000, signal: cli.signal }),
    );
    const other = joined.metadata.name;
    if (flags.wait) {
      await awaitPeering(cli, [{ cluster, own: own.name, other }], flags.timeout);
    }
    cli.terminal.out(
      `${own.name} and ${other} are peered (fingerprint ${fingerprint}: compare it with the other side's).\n`,
    );
  });
};

const unpeerOne = async (
  cli: CliContext,
  cluster: Cluster,
  name: string,
  flags: UnpeerFlags,
): Promise<void> => {
  const { clusterName } = await requireInstallation(cluster);
  const known = (await cluster.client.list(PEER)).items.map((p) => p.metadata.name);
  if (!known.includes(name)) {
    throw new FluviaError(ERROR_CODES.NOT_PEERED, `there is no peer "${name}" (${cluster.source})`, {
      kind: 'terminal',
      hint: known.length === 0 ? 'this cluster has no peers' : `peers are: ${known.join(', ')}`,
    });
  }
  const isForgotten = flags.forget === true || flags.force === true;
  const { whole: volumes, tails } = await volumesAt(cluster.client, name);
  if (volumes.length > 0 && !isForgotten) {
    throw new FluviaError(
      ERROR_CODES.CONFLICT,
      `volumes are at ${name} and would go with the peering: ${volumes.join(', ')}`,
      {
        kind: 'terminal',
        hint: 'move each: fluviactl move volume CLAIM -n NAMESPACE --to PEER; or delete their claims; or give them up: --force',
      },
    );
  }
  if (tails.length > 0 && !isForgotten) {
    throw new FluviaError(
      ERROR_CODES.CONFLICT,
      `what was written last at ${name} before it was lost is there only, and would go with the peering: ${tails.join(', ')}`,
      {
        kind: 'terminal',
        hint: `to keep it move each there and back: fluviactl move volume CLAIM -n NAMESPACE --to ${name}; or give it up: --force`,
      },
    );
  }
  const peer = await cluster.client.get<Peer>(PEER, name);
  let fenced = 0;
  const there = await readLeftThere(cluster.client, name);
  await cli.steps.run(`Peering with ${name} has ended`, async (note) => {
    try {
      const timeoutMs = isForgotten ? Math.min(FORGET_MS, flags.timeout) : flags.timeout;
      await requestUnpeer(cluster.client, name, { timeoutMs, signal: cli.signal });
    } catch (error) {
      if (!(isForgotten && error instanceof FluviaError && error.code === ERROR_CODES.TIMEOUT)) {
        throw error;
      }
      note('forgetting it');
      fenced = await forgetPeer(cluster.client, name);
    }
  });
  if (fenced > 0) {
    cli.steps.warn(fencedText(fenced));
  }
  if (volumes.length > 0) {
    cli.steps.warn(
      `volumes were at ${name}: ${volumes.join(', ')}. One that a pod waits for comes back from its freshest copy; without a VolumeReplica there is none.`,
    );
  }
  const isToldThere = flags.remoteKubeconfig !== undefined || flags.remoteContext !== undefined;
  if (peer?.status?.link?.state !== 'Up' && !isToldThere) {
    cli.steps.warn(leftThereText(name, clusterName, there));
  }
};

const unpeer = async (cli: CliContext, name: string, flags: UnpeerFlags): Promise<void> =>
  withCluster(cli, flags, async (here) => {
    const isBoth = flags.remoteKubeconfig !== undefined || flags.remoteContext !== undefined;
    if (!isBoth) {
      await unpeerOne(cli, here, name, flags);
      cli.terminal.out(`${name} is no peer any more.\n`);
      return;
    }
    const remote: ClusterFlags = {
      ...(flags.remoteKubeconfig === undefined ? {} : { kubeconfig: flags.remoteKubeconfig }),
      ...(flags.remoteContext === undefined ? {} : { context: flags.remoteContext }),
    };
    const own = (await requireInstallation(here)).clusterName;
    await withCluster(cli, remote, async (there) => {
      await unpeerOne(cli, here, name, flags);
      // the other side has usually heard of it by now
      if ((await there.client.get(PEER, own)) !== undefined) {
        await unpeerOne(cli, there, own, flags);
      }
      cli.terminal.out(`${own} and ${name} are no peers any more.\n`);
    });
  });

const role = (what: string): Option =>
  new Option('--role <role>', what).choices(['provider', 'consumer', 'both']).default('both');
const withRemote = (command: Command): Command =>
  command
    .option('--remote-kubeconfig <path>', 'kubeconfig of the other cluster')
    .option('--remote-context <name>', "context of the other cluster's kubeconfig");
const withWait = (command: Command): Command =>
  command
    .addOption(new Option('--wait', 'wait until link, tunnel and capacity stand').default(true))
    .option('--no-wait', 'return once both sides know each other');

/** `fluviactl peer`, `invite`, `join` and `unpeer`. */
export const registerPeering = (program: Command, cli: CliContext): void => {
  withWait(
    withRemote(
      withClusterFlags(program.command('peer').description('peer two clusters, given both kubeconfigs')),
    ),
  )
    .addOption(role('what the other cluster is to this one'))
    .option('--bidirectional', 'the same as --role both, the default')
    .option(
      '--endpoint <host:port>',
      'where the other cluster is reached, repeatable (default: found)',
      repeatable,
    )
    .option('--timeout <duration>', 'how long to wait', seconds, 120_000)
    .option('--dry-run', 'say what would be done and change nothing')
    .action((flags: PeerFlags) => peer(cli, flags));
  withClusterFlags(
    program.command('invite').description('make an invite for another administrator; prints it'),
  )
    .addOption(role('what the joining cluster will be to this one'))
    .option(
      '--endpoint <host:port>',
      'where this cluster is reached, repeatable (default: found)',
      repeatable,
    )
    .option('--uses <n>', 'how many clusters may join with it', positive, 1)
    .option('--expires <duration>', 'how long it is valid', seconds, 86_400_000)
    .action((flags: InviteFlags) => invite(cli, flags));
  withWait(
    withClusterFlags(program.command('join').description('accept an invite, from a file or standard input')),
  )
    .argument('[file]', 'file that holds the invite; - or nothing for standard input')
    .option('--timeout <duration>', 'how long to wait', seconds, 120_000)
    .action((file: string | undefined, flags: JoinFlags) => join(cli, file, flags));
  withRemote(withClusterFlags(program.command('unpeer').description('end a peering; pods come home first')))
    .argument('<peer>', 'name of the peer')
    .option('--forget', 'do not wait for the peer: for one that is gone for good')
    .option('--force', 'the same as --forget')
    .option('--timeout <duration>', 'how long to wait', seconds, 120_000)
    .action((name: string, flags: UnpeerFlags) => unpeer(cli, name, flags));
};
