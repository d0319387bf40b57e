import { expect, it } from 'vitest';
import { isHeldAt, volumePlacesOf } from './volume-places.ts';

it('reads where a volume is, where it goes and where it has a tail', () => {
  const places = volumePlacesOf({
    'fluvia.dev/location': 'east',
    'fluvia.dev/move': JSON.stringify({ from: 'east', to: 'west', stage: 'copy' }),
    'fluvia.dev/diverged': 'north,south',
  });
  expect(places).toEqual({ location: 'east', target: 'west', tails: ['north', 'south'] });
  expect(['east', 'west', 'north'].map((place) => isHeldAt(places, place))).toEqual([true, true, false]);
});

it.each(['', 'null', '[]', '{"to":1}', '{'])('takes the move %j for none', (move) => {
  expect(volumePlacesOf({ 'fluvia.dev/move': move })).toEqual({
    location: undefined,
    target: undefined,
    tails: [],
  });
});
