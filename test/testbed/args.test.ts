import { describe, expect, it } from 'vitest';
import { parseArguments, parseShape } from './args.ts';

describe('parseArguments', () => {
  it('takes three clusters, the middle one with two nodes, by default', () => {
    expect(parseArguments(['up'])).toEqual({
      verb: 'up',
      storage: false,
      name: 'default',
      shape: [
        { name: 'home', nodes: 1 },
        { name: 'east', nodes: 2 },
        { name: 'west', nodes: 1 },
      ],
    });
  });

  it('takes --storage', () => {
    expect(parseArguments(['up', '--storage'])).toMatchObject({ verb: 'up', storage: true });
  });

  it('gives clusters of a given list one node each unless told', () => {
    expect(parseArguments(['up', '--clusters=a,b', '--name', 'x'])).toEqual({
      verb: 'up',
      storage: false,
      name: 'x',
      shape: [
        { name: 'a', nodes: 1 },
        { name: 'b', nodes: 1 },
      ],
    });
  });

  it('passes everything after the target on untouched', () => {
    expect(
      parseArguments(['--name', 'x', 'kubectl', 'east', 'get', 'pods', '--name', 'y', '-o', 'wide']),
    ).toEqual({
      verb: 'kubectl',
      name: 'x',
      target: 'east',
      args: ['get', 'pods', '--name', 'y', '-o', 'wide'],
    });
    expect(parseArguments(['exec', 'east/2', '--', 'ip', '-br', 'a'])).toMatchObject({
      target: 'east/2',
      args: ['ip', '-br', 'a'],
    });
  });

  it.each([
    [['fly'], /unknown verb fly/],
    [['up', '--nodes', '0'], /not whole numbers/],
    [['up', '--clusters', 'a,a'], /twice/],
    [['up', '--clusters', 'a,b,c', '--nodes', '1,2'], /2 numbers for 3 clusters/],
    [['up', '--clusters', '../etc'], /not a name/],
    [['up', '--name'], /needs a value/],
    [['down', '--name', 'A b'], /not a name/],
    [['load', 'home'], /takes 2 arguments, not 1/],
    [['status', '-o', 'xml'], /text or json/],
    [['partition', 'a', 'b', 'c'], /takes 2 arguments, not 3/],
    [['down', '--force'], /unknown option/],
  ])('refuses %j', (argv, reason) => {
    expect(() => parseArguments(argv)).toThrow(reason);
  });

  it('repeats one number for all clusters', () => {
    expect(parseShape('a,b', '3').map(({ nodes }) => nodes)).toEqual([3, 3]);
  });
});
