/**
 * A small registry of metrics in Prometheus' text format 0.0.4. Own code rather than prom-client, because its memory counts
 * in an agent on every node.
 */

/** Labels of one series; values are escaped, names must be valid already. */
export type MetricLabels = Readonly<Record<string, string>>;

export interface Counter {
  inc(labels?: MetricLabels, by?: number): void;
}

export interface Gauge {
  set(value: number, labels?: MetricLabels): void;
  /** Drops one series, such as that of a peer that is gone. */
  remove(labels: MetricLabels): void;
}

export interface Histogram {
  observe(value: number, labels?: MetricLabels): void;
}

/** GaugeReader gives a gauge's series at the moment of a scrape. */
export type GaugeReader = () => Iterable<readonly [value: number, labels?: MetricLabels]>;

/** Metrics: asking twice for one name gives the same metric. Names: `fluvia_<subsystem>_<thing>_<unit>[_total]`. */
export interface Metrics {
  counter(name: string, help: string): Counter;
  gauge(name: string, help: string): Gauge;
  /** A gauge that is read when scraped; returns how to remove it. Several readers may share a name. */
  gaugeFrom(name: string, help: string, read: GaugeReader): () => void;
  /** Buckets are upper bounds, ascending, without +Inf; default 5 ms … 60 s. */
  histogram(name: string, help: string, buckets?: readonly number[]): Histogram;
  /** The whole registry as text, content type `text/plain; version=0.0.4`. */
  text(): string;
}

interface Family {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly lines: () => string[];
  readonly api: Counter | Gauge | Histogram;
}

const defaultBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const validName = /^[a-z_:][a-z0-9_:]*$/;

const escapeValue = (value: string): string =>
  value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');

const seriesKey = (labels: MetricLabels = {}): string =>
  Object.keys(labels)
    .toSorted()
    .map((name) => `${name}="${escapeValue(labels[name] ?? '')}"`)
    .join(',');

const line = (name: string, key: string, value: number): string =>
  `${name}${key ? `{${key}}` : ''} ${Number.isFinite(value) ? String(value) : value > 0 ? '+Inf' : value < 0 ? '-Inf' : 'NaN'}`;

const simpleFamily = (
  name: string,
  type: 'counter' | 'gauge',
  help: string,
): Family & { readonly readers: Set<GaugeReader> } => {
  const series = new Map<string, number>();
  const readers = new Set<GaugeReader>();
  const api: Counter & Gauge = {
    inc: (labels, by = 1) => {
      const key = seriesKey(labels);
      series.set(key, (series.get(key) ?? 0) + by);
    },
    set: (value, labels) => void series.set(seriesKey(labels), value),
    remove: (labels) => void series.delete(seriesKey(labels)),
  };
  const lines = (): string[] => {
    const all = new Map(series);
    for (const read of readers) for (const [value, labels] of read()) all.set(seriesKey(labels), value);
    return [...all].map(([key, value]) => line(name, key, value));
  };
  return { type, help, api, lines, readers };
};

const histogramFamily = (name: string, help: string, buckets: readonly number[]): Family => {
  const series = new Map<string, { readonly counts: number[]; sum: number; count: number }>();
  const api: Histogram = {
    observe: (value, labels) => {
      const key = seriesKey(labels);
      const entry = series.get(key) ?? { counts: buckets.map(() => 0), sum: 0, count: 0 };
      series.set(key, entry);
      entry.sum += value;
      entry.count += 1;
      const index = buckets.findIndex((bound) => value <= bound);
      if (index >= 0) entry.counts[index] = (entry.counts[index] ?? 0) + 1;
    },
  };
  const lines = (): string[] =>
    [...series].flatMap(([key, entry]) => {
      const prefix = key ? `${key},` : '';
      let total = 0;
      const bucketLines = buckets.map((bound, index) => {
        total += entry.counts[index] ?? 0;
        return line(`${name}_bucket`, `${prefix}le="${bound}"`, total);
      });
      return [
        ...bucketLines,
        line(`${name}_bucket`, `${prefix}le="+Inf"`, entry.count),
        line(`${name}_sum`, key, entry.sum),
        line(`${name}_count`, key, entry.count),
      ];
    });
  return { type: 'histogram', help, api, lines };
};

/** createMetrics makes an empty registry. */
export const createMetrics = (): Metrics => {
  const families = new Map<string, Family>();
  const family = <F extends Family>(name: string, type: Family['type'], make: () => F): F => {
    if (!validName.test(name)) throw new TypeError(`metric name ${name} is not valid`);
    const known = families.get(name);
    if (known && known.type !== type) throw new TypeError(`metric ${name} is a ${known.type}, not a ${type}`);
    if (known) return known as F;
    const made = make();
    families.set(name, made);
    return made;
  };
  return {
    counter: (name, help) =>
      family(name, 'counter', () => simpleFamily(name, 'counter', help)).api as Counter,
    gauge: (name, help) => family(name, 'gauge', () => simpleFamily(name, 'gauge', help)).api as Gauge,
    gaugeFrom: (name, help, read) => {
      const { readers } = family(name, 'gauge', () => simpleFamily(name, 'gauge', help));
      readers.add(read);
      return () => void readers.delete(read);
    },
    histogram: (name, help, buckets = defaultBuckets) =>
      family(name, 'histogram', () => histogramFamily(name, help, buckets)).api as Histogram,
    text: () =>
      [...families]
        .flatMap(([name, f]) => [
          `# HELP ${name} ${f.help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`,
          `# TYPE ${name} ${f.type}`,
          ...f.lines(),
        ])
        .join('\n')
        .concat('\n'),
  };
};

/** processMetrics adds what every process shows: memory, CPU time, start time, open handles of the event loop. */
export const processMetrics = (metrics: Metrics): void => {
  metrics.gaugeFrom('process_resident_memory_bytes', 'Resident memory.', () => [[process.memoryUsage.rss()]]);
  metrics.gaugeFrom('nodejs_heap_used_bytes', 'Heap in use.', () => [[process.memoryUsage().heapUsed]]);
  metrics.gaugeFrom('process_cpu_seconds', 'CPU time used, user and system.', () => {
    const { user, system } = process.cpuUsage();
    return [[(user + system) / 1e6]];
  });
  const started = Date.now() / 1000 - process.uptime();
  metrics.gaugeFrom('process_start_time_seconds', 'Start time since the epoch.', () => [[started]]);
};
