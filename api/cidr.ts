import { z } from 'zod';
import { OCTET } from './ip-range.ts';

export {
  cidrContains,
  cidrContainsIp,
  cidrSize,
  cidrsOverlap,
  formatCidr,
  formatIp,
  parseCidr,
  parseIp,
  translateIp,
  type Cidr,
} from './ip-range.ts';

const IPV4 = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`);

/** Schema of an IPv4 address in dotted form, without leading zeros. */
export const Ipv4String = z.string().max(15).regex(IPV4);
/** Schema of an IPv4 CIDR in dotted form; host bits are checked by {@link parseCidr}. */
export const CidrString = z
  .string()
  .max(18)
  .regex(new RegExp(`^${OCTET}(?:\\.${OCTET}){3}/(?:3[0-2]|[12]?\\d)$`));
