import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { loadSync, type MethodDefinition, type Options, type PackageDefinition } from '@grpc/proto-loader';
import type {
  Empty,
  FollowEvent,
  FollowRequest,
  Frame,
  HelloRequest,
  HelloResponse,
  JoinRequest,
  JoinResponse,
} from './peering.ts';

/** A call of one service: its path and how its messages are put on the wire. */
export type Method<Request, Response> = MethodDefinition<Request, Response>;

/** `fluvia.peering.v1.Joining`. */
export interface JoiningService {
  readonly Join: Method<JoinRequest, JoinResponse>;
}

/** `fluvia.peering.v1.Fabric`. */
export interface FabricService {
  readonly Hello: Method<HelloRequest, HelloResponse>;
  readonly Follow: Method<FollowRequest, FollowEvent>;
  readonly ContainerStream: Method<Frame, Frame>;
  readonly Ping: Method<Empty, Empty>;
  readonly Leave: Method<Empty, Empty>;
}

/** Both services of `peering.proto`. */
export interface PeeringServices {
  readonly joining: JoiningService;
  readonly fabric: FabricService;
}

/** How messages become objects; the types in `peering.ts` hold for these. */
export const LOADER_OPTIONS: Options = { longs: Number, enums: String, defaults: true, arrays: true };

/**
 * Path of a `.proto` of this folder: beside this module in a checkout, in `proto/` beside the bundle in the image.
 * @throws Error when it is in neither place.
 */
export const protoPath = (name: string): string => {
  const here = import.meta.dirname;
  const found = [join(here, name), join(here, 'proto', name)].find((path) => existsSync(path));
  if (found === undefined) throw new Error(`${name} is neither in ${here} nor in ${join(here, 'proto')}`);
  return found;
};

let services: PeeringServices | undefined;

const load = (): PeeringServices => {
  const definition: PackageDefinition = loadSync(protoPath('peering.proto'), LOADER_OPTIONS);
  const service = (name: string): unknown => {
    const found = definition[`fluvia.peering.v1.${name}`];
    if (found === undefined) throw new Error(`peering.proto has no service ${name}`);
    return found;
  };
  return { joining: service('Joining') as JoiningService, fabric: service('Fabric') as FabricService };
};

/** The services of `peering.proto`, read once. */
export const peeringServices = (): PeeringServices => (services ??= load());
