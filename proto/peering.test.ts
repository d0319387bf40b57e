import * as fc from 'fast-check';
import { loadSync } from '@grpc/proto-loader';
import { describe, expect, it } from 'vitest';
import { LOADER_OPTIONS, peeringServices, protoPath } from './load.ts';

interface FieldDescriptor {
  readonly name: string;
  readonly number: number;
  readonly type: string;
  readonly label: string;
}

const fieldsOf = (message: unknown): string =>
  (message as { type: { field: readonly FieldDescriptor[] } }).type.field
    .map(
      (f) =>
        `${f.number}:${f.name}:${f.type.replace('TYPE_', '').toLowerCase()}${f.label === 'LABEL_REPEATED' ? '*' : ''}`,
    )
    .join(' ');

/** As released in 0.1; lines may be added and fields appended, nothing here may change. */
const RELEASED: Readonly<Record<string, string>> = {
  JoinRequest:
    '1:inviteId:string 2:name:string 3:clusterUid:string 4:minProtocol:uint32 5:maxProtocol:uint32 6:offeredFeatures:string* 7:chosenProtocol:uint32 8:chosenFeatures:string* 9:roles:string* 10:inviteSignature:bytes 11:identitySignature:bytes',
  JoinResponse: '1:name:string 2:clusterUid:string 3:identitySignature:bytes',
  HelloRequest:
    '1:clusterId:string 2:name:string 3:version:string 4:minProtocol:uint32 5:maxProtocol:uint32 6:features:string* 7:leaderTransitions:uint64 8:clusterUid:string',
  HelloResponse:
    '1:clusterId:string 2:name:string 3:version:string 4:protocol:uint32 5:features:string* 6:leaderTransitions:uint64 7:clusterUid:string',
  Have: '1:id:string 2:hash:bytes',
  FollowRequest: '1:collection:string 2:have:message* 3:ready:bool',
  Item: '1:id:string 2:hash:bytes 3:json:bytes',
  FollowEvent: '1:set:message 2:delete:string 3:complete:bool',
  Failure: '1:code:string 2:message:string',
  Frame: '1:open:bytes 2:data:bytes 3:end:bool 4:failure:message',
  PingRequest: '',
  PingResponse: '',
  LeaveRequest: '',
  LeaveResponse: '',
};

describe('peering.proto', () => {
  it('keeps every released field', () => {
    const loaded = loadSync(protoPath('peering.proto'), LOADER_OPTIONS);
    for (const [name, fields] of Object.entries(RELEASED)) {
      expect(`${name} ${fieldsOf(loaded[`fluvia.peering.v1.${name}`])}`).toMatch(
        new RegExp(`^${`${name} ${fields}`.replaceAll('*', '\\*')}`),
      );
    }
  });

  it('keeps the paths of its calls', () => {
    const { joining, fabric } = peeringServices();
    expect(
      [...Object.values(joining), ...Object.values(fabric)].map((m: { path: string }) => m.path),
    ).toEqual([
      '/fluvia.peering.v1.Joining/Join',
      '/fluvia.peering.v1.Fabric/Hello',
      '/fluvia.peering.v1.Fabric/Follow',
      '/fluvia.peering.v1.Fabric/ContainerStream',
      '/fluvia.peering.v1.Fabric/Ping',
      '/fluvia.peering.v1.Fabric/Leave',
    ]);
  });

  it('gives back what was sent, with the types that peering.ts states', () => {
    const { Hello, Follow } = peeringServices().fabric;
    fc.assert(
      fc.property(fc.string(), fc.nat(), fc.array(fc.string()), (name, term, features) => {
        const sent = {
          clusterId: name,
          name,
          version: '1',
          minProtocol: 1,
          maxProtocol: 1,
          features,
          leaderTransitions: term,
          clusterUid: '',
        };
        expect(Hello.requestDeserialize(Hello.requestSerialize(sent))).toEqual(sent);
      }),
    );
    const event = { set: { id: '__proto__', hash: Buffer.from([1]), json: Buffer.from('{}') } };
    expect(Follow.responseDeserialize(Follow.responseSerialize(event))).toEqual(event);
    expect(Follow.responseDeserialize(Follow.responseSerialize({ delete: 'x' }))).toEqual({ delete: 'x' });
    expect(Follow.responseDeserialize(Buffer.alloc(0))).toEqual({});
  });

  it('refuses what is not a message without doing anything else', () => {
    const { Hello } = peeringServices().fabric;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const read = (): string => {
          try {
            return typeof Hello.requestDeserialize(Buffer.from(bytes)).clusterId;
          } catch (error) {
            return error instanceof Error ? 'refused' : 'thrown';
          }
        };
        expect(['string', 'refused']).toContain(read());
      }),
    );
  });
});
