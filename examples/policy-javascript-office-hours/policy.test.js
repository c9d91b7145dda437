/** What the policy promises, each promise once. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { settingsOf } from '../../sdk/javascript/tidegate.js';
import { decide, SETTINGS } from './policy.js';

const { settings } = settingsOf('', SETTINGS);

const site = (name, rank, status) => ({ site: name, rank, consensus: { status } });

const at = (when, { west = 'unhealthy', east = 'healthy' } = {}) => ({
  now: Date.parse(when),
  'active-site': 'west',
  sites: [site('west', 1, west), site('north', 3, 'healthy'), site('east', 2, east)],
});

test('asks while somebody is at the desk, the best site first', () => {
  const { ask } = decide(at('2026-11-25T14:59:59Z'), settings).verdict;
  assert.deepEqual(ask.options.map((option) => option['to-site']), ['east', 'north']);
  assert.equal(ask['expires-in'], 600_000);
});

test('moves by itself while nobody is', () => {
  for (const when of ['2026-11-25T17:00:00Z', '2026-11-25T07:59:59Z', '2026-11-28T12:00:00Z']) {
    assert.equal(decide(at(when), settings).verdict['fail-over']['to-site'], 'east', when);
  }
});

test('does nothing as long as the site is not lost, or nothing else works', () => {
  assert.equal(decide(at('2026-11-25T12:00:00Z', { west: 'unknown' }), settings).verdict, 'hold');
  const nowhere = at('2026-11-25T20:00:00Z', { east: 'unknown' });
  nowhere.sites = nowhere.sites.filter(({ site: name }) => name !== 'north');
  assert.equal(decide(nowhere, settings).analysis, 'nowhere-to-go');
});

test('refuses an hour that no day has', () => {
  assert.deepEqual(settingsOf('{"from": 25}', SETTINGS).wrong, [{ at: '/from', text: 'at most 24' }]);
});
