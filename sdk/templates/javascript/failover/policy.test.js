/** What the policy promises, each promise once. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { decide, SETTINGS } from './policy.js';
import { settingsOf } from './tidegate.js';

const site = (name, rank, status, held = 60_000) => ({ site: name, rank, consensus: { status, held } });

/** Only what the policy looks at; the whole is what `tidegate policy eval --example` prints. */
const fleet = (west, { east = 'healthy', held } = {}) => ({
  'active-site': 'west',
  sites: [site('west', 1, west, held), site('north', 2, 'unhealthy'), site('east', 3, east)],
});

const patient = { 'patience-seconds': 10 };

test('stays as long as it is not sure', () => {
  const cases = [
    ['it works', fleet('healthy'), 'in-place'],
    ['nobody knows', fleet('unknown'), 'in-place'],
    ['it has only just been lost', fleet('unhealthy', { held: 9_999 }), 'not-yet-sure'],
  ];
  for (const [story, situation, code] of cases) {
    const { verdict, reasons } = decide(situation, patient);
    assert.deepEqual([verdict, reasons[0].code], ['hold', code], story);
  }
});

test('leaves a lost site for the best one that works, and says why not for another', () => {
  const { verdict, vetoes } = decide(fleet('unhealthy', { held: 10_000 }), patient);
  assert.equal(verdict['fail-over']['to-site'], 'east');
  assert.deepEqual(vetoes.map(({ candidate }) => candidate), [{ site: 'north' }]);
});

test('goes nowhere if nothing works', () => {
  const { verdict, analysis } = decide(fleet('unhealthy', { east: 'unknown' }), patient);
  assert.deepEqual([verdict, analysis], ['hold', 'nowhere-to-go']);
});

test('refuses settings that it does not have', () => {
  for (const text of ['{"patience": 10}', '{"patience-seconds": "10"}', '{"patience-seconds": 3601}', '{']) {
    assert.notDeepEqual(settingsOf(text, SETTINGS).wrong, [], text);
  }
  assert.deepEqual(settingsOf('', SETTINGS), { settings: patient, wrong: [] });
});
