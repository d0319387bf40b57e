import { describe, expect, it } from 'vitest';

import { createMetrics } from './metrics.ts';

describe('metrics', () => {
  it('writes counters and gauges with sorted, escaped labels', () => {
    const metrics = createMetrics();
    const counter = metrics.counter('fluvia_a_total', 'What a is.');
    counter.inc({ b: 'x"y', a: '1' });
    counter.inc({ a: '1', b: 'x"y' }, 2);
    metrics.gauge('fluvia_g', 'g').set(1.5);
    expect(metrics.text()).toBe(
      [
        '# HELP fluvia_a_total What a is.',
        '# TYPE fluvia_a_total counter',
        String.raw`fluvia_a_total{a="1",b="x\"y"} 3`,
        '# HELP fluvia_g g',
        '# TYPE fluvia_g gauge',
        'fluvia_g 1.5',
        '',
      ].join('\n'),
    );
  });

  it('writes cumulative histogram buckets, sum and count', () => {
    const metrics = createMetrics();
    const histogram = metrics.histogram('fluvia_seconds', 'time', [0.1, 1]);
    for (const value of [0.05, 0.5, 0.6, 5]) histogram.observe(value, { c: 'x' });
    const lines = metrics.text().split('\n').slice(2, -1);
    expect(lines).toEqual([
      'fluvia_seconds_bucket{c="x",le="0.1"} 1',
      'fluvia_seconds_bucket{c="x",le="1"} 3',
      'fluvia_seconds_bucket{c="x",le="+Inf"} 4',
      'fluvia_seconds_sum{c="x"} 6.15',
      'fluvia_seconds_count{c="x"} 4',
    ]);
  });

  it('reads gauges of several readers when scraped, until they are removed', () => {
    const metrics = createMetrics();
    let depth = 1;
    const remove = metrics.gaugeFrom('fluvia_depth', 'd', () => [[depth, { c: 'a' }]]);
    metrics.gaugeFrom('fluvia_depth', 'd', () => [[7, { c: 'b' }]]);
    depth = 2;
    expect(metrics.text()).toContain('fluvia_depth{c="a"} 2\nfluvia_depth{c="b"} 7');
    remove();
    expect(metrics.text()).not.toContain('c="a"');
  });

  it('gives the same metric for the same name, and refuses another type or a bad name', () => {
    const metrics = createMetrics();
    expect(metrics.counter('fluvia_x_total', 'x')).toBe(metrics.counter('fluvia_x_total', 'x'));
    expect(() => metrics.gauge('fluvia_x_total', 'x')).toThrow('is a counter');
    expect(() => metrics.gauge('Bad-Name', 'x')).toThrow('not valid');
  });
});
