import { placeText } from '../../api/places.ts';
import type { ExplainedCandidate, Explanation } from '../../offloading/consumer/plan-explain.ts';
import type { Branch } from './tree.ts';

const pad = (text: string, width: number): string => text.padEnd(width);

const termLines = ({ terms }: ExplainedCandidate): readonly string[] =>
  terms.map(({ term, points, weight, value, says }) => {
    const share = points === undefined ? value.toFixed(2) : `+${points.toFixed(1)}`;
    const off = weight === 0 ? ' (weight 0: not counted)' : '';
    return `${pad(term, 6)} ${share.padStart(5)}  ${says}${off}`;
  });

/** The explanation as a tree, for people. */
export const explanationTree = (explanation: Explanation): Branch => {
  const { pod, summary, candidates, rejected, notes, decidedAt } = explanation;
  const fits: Branch = {
    title: 'places that fit, best first',
    children: candidates.map((candidate) => ({
      title: `${placeText(candidate.place)}${candidate.score === undefined ? '' : `  score ${candidate.score}`}${candidate.isChosen ? '  (chosen)' : ''}`,
      children: termLines(candidate),
    })),
  };
  const left: Branch = {
    title: candidates.length > 0 ? 'left out' : 'why not',
    children: rejected.map(({ place, reason }) => `${placeText(place)}: ${reason}`),
  };
  return {
    title: `pod ${pod} ${summary}`,
    children: [
      ...(decidedAt === undefined ? [] : [`decided ${decidedAt}`]),
      ...(candidates.length === 0 ? [] : [fits]),
      ...(rejected.length === 0 ? [] : [left]),
      ...notes.map((note) => `note: ${note}`),
    ],
  };
};
