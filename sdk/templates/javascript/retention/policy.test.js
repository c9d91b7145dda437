/** What the policy promises, each promise once. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { select, SETTINGS } from './policy.js';
import { DAY, settingsOf } from './tidegate.js';

const NOW = 1_767_225_600_000;

/** Only what the policy looks at; the whole is in the contract, `wit/policies.wit`. */
const full = (id, daysOld, more = {}) => ({
  id,
  kind: 'full',
  parent: null,
  'taken-at': NOW - daysOld * DAY,
  'verified-at': null,
  'locked-until': null,
  holds: [],
  ...more,
});

const incremental = (id, daysOld, parent) => full(id, daysOld, { kind: 'incremental', parent });

const choices = (backups, minimumAge = null) =>
  select({ now: NOW, dataset: { 'minimum-age': minimumAge }, backups }, { 'keep-days': 30, 'keep-last': 1 });

test('keeps what has to stay and says why', () => {
  const cases = [
    ['nothing keeps it', full('old', 40), null, 'expired'],
    ['a day too young', full('old', 29), null, 'young'],
    ['from the future', full('old', -1), null, 'young'],
    ['its data set is strict', full('old', 40), 41 * DAY, 'minimum-age'],
    ['a restore is proven', full('old', 40, { 'verified-at': NOW }), null, 'proven'],
    ['locked', full('old', 40, { 'locked-until': NOW + 1 }), null, 'locked'],
    ['no longer locked', full('old', 40, { 'locked-until': NOW }), null, 'expired'],
    ['held', full('old', 40, { holds: ['case-7'] }), null, 'held'],
  ];
  for (const [story, backup, minimumAge, code] of cases) {
    const [, said] = choices([full('last', 1), backup], minimumAge);
    assert.deepEqual([said.keep, said.reasons[0].code], [code !== 'expired', code], story);
  }
});

test('keeps the last full backup however old it is', () => {
  assert.deepEqual(choices([full('a', 400), full('b', 500)]).map(({ keep }) => keep), [true, false]);
});

test('keeps whatever a kept backup needs to be restored', () => {
  const chain = [incremental('one', 50, 'base'), incremental('two', 20, 'one'), incremental('aside', 45, 'base')];
  const said = choices([full('last', 1), full('base', 60), ...chain]);
  const kept = said.filter(({ keep }) => keep).map(({ id }) => id);
  assert.deepEqual(kept, ['last', 'base', 'one', 'two']);
  assert.match(said[1].reasons[0].text, /one/);
});

test('a parent that is missing and a circle are no reason to crash', () => {
  const [, said] = choices([full('last', 1), incremental('orphan', 40, 'gone')]);
  assert.deepEqual([said.keep, said.reasons[0].code], [true, 'parent-unknown']);
  assert.ok(choices([incremental('a', 1, 'b'), incremental('b', 40, 'a')]).every(({ keep }) => keep));
});

test('refuses settings that it does not have', () => {
  for (const text of ['{"keep": 10}', '{"keep-days": "10"}', '{"keep-days": 36501}', '{"keep-last": 0}']) {
    assert.notDeepEqual(settingsOf(text, SETTINGS).wrong, [], text);
  }
  assert.deepEqual(settingsOf('', SETTINGS), { settings: { 'keep-days': 30, 'keep-last': 3 }, wrong: [] });
});
