/**
 * Round-trip probes between gateways, inside the tunnel, by UDP (ICMP sockets need a capability that the agent doesn't have).
 * A probe is 16 bytes: 4 of magic, 4 of kind and sequence, 8 random. The responder sends it back with the reply bit set,
 * never more than it got, so that it amplifies nothing.
 */
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { PORTS } from '../../api/labels.ts';
import type { Clock } from '../../runtime/clock.ts';

const MAGIC = 0x464c5556;
const PROBE_BYTES = 16;
const REPLY_BIT = 0x80000000;
/** How many probes loss is counted over. */
const WINDOW = 15;

export interface ProbeResult {
  /** Of the last answer; undefined before the first. */
  readonly rttMilliseconds: number | undefined;
  readonly lossPercent: number;
  /** Probes in a row that weren't answered, up to now; those of the window at most. */
  readonly unanswered: number;
}

export interface Prober {
  /** Sends one probe to each peer's address; those of before that weren't answered count as lost. */
  probe(targets: ReadonlyMap<string, string>): void;
  result(peer: string): ProbeResult | undefined;
  close(): void;
}

interface Track {
  address: string;
  pending: { readonly token: string; readonly sentMs: number } | undefined;
  readonly outcomes: boolean[];
  rttMilliseconds: number | undefined;
}

const encode = (sequence: number, token: Buffer): Buffer => {
  const packet = Buffer.alloc(PROBE_BYTES);
  packet.writeUInt32BE(MAGIC, 0);
  packet.writeUInt32BE(sequence & 0x7fffffff, 4);
  token.copy(packet, 8);
  return packet;
};

/** replyTo is the answer to a probe, or undefined when the packet isn't one. */
export const replyTo = (packet: Buffer): Buffer | undefined => {
  if (packet.length !== PROBE_BYTES || packet.readUInt32BE(0) !== MAGIC) return undefined;
  const word = packet.readUInt32BE(4);
  if (word >= REPLY_BIT) return undefined;
  const reply = Buffer.from(packet);
  reply.writeUInt32BE((word | REPLY_BIT) >>> 0, 4);
  return reply;
};

const tokenOfReply = (packet: Buffer): string | undefined =>
  packet.length === PROBE_BYTES && packet.readUInt32BE(0) === MAGIC && packet.readUInt32BE(4) >= REPLY_BIT
    ? packet.toString('hex', 8)
    : undefined;

/** startResponder answers probes until closed; `onError` hears why it can't. */
export const startResponder = (address: string, onError: (error: Error) => void): { close(): void } => {
  const socket = createSocket('udp4');
  socket.on('error', onError);
  socket.on('message', (packet, from) => {
    const reply = replyTo(packet);
    if (reply !== undefined) socket.send(reply, from.port, from.address, () => undefined);
  });
  socket.bind(PORTS.probe, address);
  return { close: () => closeSocket(socket) };
};

const closeSocket = (socket: Socket): void => {
  try {
    socket.close();
  } catch {
    // It was closed by its own error already.
  }
};

const judge = (track: Track, isAnswered: boolean): void => {
  track.outcomes.push(isAnswered);
  if (track.outcomes.length > WINDOW) track.outcomes.shift();
};

/** createProber sends from this address. */
export const createProber = (clock: Clock, address: string, onError: (error: Error) => void): Prober => {
  const tracks = new Map<string, Track>();
  const socket = createSocket('udp4');
  let sequence = 0;
  socket.on('error', onError);
  socket.on('message', (packet) => {
    const token = tokenOfReply(packet);
    if (token === undefined) return;
    const track = [...tracks.values()].find((item) => item.pending?.token === token);
    if (track?.pending === undefined) return;
    track.rttMilliseconds = Math.round((clock.monotonicMs() - track.pending.sentMs) * 100) / 100;
    track.pending = undefined;
    judge(track, true);
  });
  socket.bind(0, address);
  return {
    probe: (targets) => {
      for (const peer of tracks.keys()) if (!targets.has(peer)) tracks.delete(peer);
      for (const [peer, target] of targets) {
        let track = tracks.get(peer);
        if (track === undefined || track.address !== target) {
          track = { address: target, pending: undefined, outcomes: [], rttMilliseconds: undefined };
          tracks.set(peer, track);
        }
        if (track.pending !== undefined) judge(track, false);
        const token = randomBytes(8);
        sequence += 1;
        track.pending = { token: token.toString('hex'), sentMs: clock.monotonicMs() };
        // A send that fails (no route yet) is a probe that stays without answer.
        socket.send(encode(sequence, token), PORTS.probe, target, () => undefined);
      }
    },
    result: (peer) => {
      const track = tracks.get(peer);
      if (track === undefined || track.outcomes.length === 0) return undefined;
      const lost = track.outcomes.filter((isAnswered) => !isAnswered).length;
      return {
        rttMilliseconds: track.rttMilliseconds,
        lossPercent: Math.round((lost / track.outcomes.length) * 100),
        unanswered: track.outcomes.length - 1 - track.outcomes.lastIndexOf(true),
      };
    },
    close: () => closeSocket(socket),
  };
};
