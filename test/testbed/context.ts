/** What works on nodes needs of their testbed. */
import { join } from 'node:path';
import { Journal } from './journal.ts';
import type { NodeContext } from './node.ts';
import { stateFolder, type TestbedState } from './state.ts';

export const contextOf = (state: TestbedState): NodeContext => {
  const folder = stateFolder(state.plan.name);
  return {
    plan: state.plan,
    tools: state.tools,
    journal: new Journal(join(folder, 'journal.jsonl')),
    clusterFolder: (cluster) => join(folder, 'clusters', cluster),
    storage: state.storage === true,
  };
};
