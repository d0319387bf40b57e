/** Polynomials over GF(2), as bits of a number: restic cuts files into chunks by a random irreducible one of degree 53. */
import { randomBytes } from 'node:crypto';

const DEGREE = 53;
const X = 2n;

const remainderOf = (polynomial: bigint, divisor: bigint): bigint => {
  const width = divisor.toString(2).length;
  let rest = polynomial;
  for (let over = rest.toString(2).length - width; over >= 0; over = rest.toString(2).length - width) {
    if (rest === 0n) return 0n;
    rest ^= divisor << BigInt(over);
  }
  return rest;
};

/** Squaring only spreads the bits, since mixed terms come twice. */
const squareOf = (polynomial: bigint): bigint => BigInt(`0b${polynomial.toString(2).split('').join('0')}`);

/** Rabin's test for a degree that is prime: x^(2^53) = x, and neither x nor x + 1 divides it. */
export const isIrreducible = (polynomial: bigint): boolean => {
  const bits = polynomial.toString(2);
  if (bits.length !== DEGREE + 1 || !bits.endsWith('1')) return false;
  if (bits.replaceAll('0', '').length % 2 === 0) return false;
  let power = X;
  for (let n = 0; n < DEGREE; n += 1) power = remainderOf(squareOf(power), polynomial);
  return power === X;
};

/** A random one; about one in 13 of those with an odd number of terms is. */
export const randomIrreducible = (): bigint => {
  for (;;) {
    const random = BigInt(`0x${randomBytes(7).toString('hex')}`) & ((1n << BigInt(DEGREE)) - 1n);
    const polynomial = random | (1n << BigInt(DEGREE)) | 1n;
    if (isIrreducible(polynomial)) return polynomial;
  }
};
