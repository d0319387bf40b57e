import { defineConfig } from 'vitest/config';

/** Unit tests lie beside the code; what needs a real kernel, tool or cluster lies in `test/`. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            '{api,proto,runtime,peering,network-fabric,storage-fabric,offloading,daemon,cli,deploy,test}/**/*.test.ts',
          ],
          exclude: ['test/{host,kube,e2e}/**', 'test/drills/volumes.test.ts', 'node_modules/**'],
          // far more than any needs: a busy machine must not fail a test
          testTimeout: 90_000,
          // Modules are loaded once for all files of a worker; no unit test replaces or changes one.
          isolate: false,
        },
      },
      {
        test: {
          name: 'host',
          include: ['test/host/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'kube',
          include: ['test/kube/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          // They mostly wait, each with a control plane of its own.
          maxWorkers: 3,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'drills',
          include: ['test/drills/volumes.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
