/** What the policy promises, each promise once. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { place, SETTINGS } from './policy.js';
import { DAY, settingsOf } from './tidegate.js';

const NOW = 1_767_225_600_000;
const HOUR = 3_600_000;

const price = (storageClass, gigabyteMonth, minimumDays, minimumBytes, retrievalTime) => ({
  'stored-as': storageClass,
  location: 'west',
  'gigabyte-month': gigabyteMonth,
  'retrieval-gigabyte': storageClass === 'hot' ? 0 : 10_000,
  'thousand-requests': 5_000,
  'minimum-days': minimumDays,
  'minimum-bytes': minimumBytes,
  'retrieval-time': retrievalTime,
});

const PRICES = [
  price('hot', 23_000, 0, 0, 0),
  price('cool', 12_500, 30, 128_000, 0),
  price('cold', 3_600, 90, 0, 300_000),
  price('archive', 1_000, 180, 0, DAY / 2),
];

/** About a gigabyte that was last read so many days ago. */
function ask(days, object = {}, { rto = null, onlyVerifiedCopy = false, prices = PRICES } = {}) {
  const plain = {
    key: '2019.pdf',
    size: 1_000_000_000,
    'stored-as': 'hot',
    'stored-since': NOW - 3_650 * DAY,
    location: 'west',
    'created-at': NOW - 3_650 * DAY,
    'accessed-at': NOW - days * DAY,
    'locked-until': null,
    'legal-hold': false,
  };
  const item = { object: { ...plain, ...object }, 'only-verified-copy': onlyVerifiedCopy };
  return place({ now: NOW, rto, items: [item], prices }, settingsOf('', SETTINGS).settings)[0];
}

test('moves what nobody reads to where it costs least', () => {
  const cases = [
    ['read of late', ask(29), null, 0],
    ['unread for a month', ask(30), 'cool', 10_500],
    ['unread for a season', ask(90), 'cold', 19_400],
    ['unread for a year', ask(365), 'archive', 22_000],
    ['needed within an hour', ask(365, {}, { rto: HOUR }), 'cold', 19_400],
    ['needed at once', ask(365, {}, { rto: 0 }), 'cool', 10_500],
    ['never read', ask(0, { 'accessed-at': null }), 'archive', 22_000],
  ];
  for (const [story, said, to, saves] of cases) {
    assert.deepEqual([said.placement, said.saves], [to ? { 'move-to': to } : 'stay', saves], story);
  }
});

test('leaves alone what is bound and says by what', () => {
  const cases = [
    ['only-verified-copy', ask(400, {}, { onlyVerifiedCopy: true })],
    ['legal-hold', ask(400, { 'legal-hold': true })],
    ['locked', ask(400, { 'locked-until': NOW + 1 })],
  ];
  for (const [code, said] of cases) assert.deepEqual([said.placement, said.reasons[0].code], ['stay', code]);
});

test('moves only what saves money by prices that are known', () => {
  const dear = PRICES.map((price) => ({ ...price, 'retrieval-gigabyte': 1_000_000 }));
  const cases = [
    ['dear to read back', ask(400, {}, { prices: dear }), 'no-saving'],
    ['charged as a larger one', ask(400, { size: 1 }, { rto: 0 }), 'no-saving'],
    ['charged for the month', ask(400, { 'stored-since': NOW - 29 * DAY, 'stored-as': 'cool' }), 'minimum-days'],
    ['without a price', ask(400, { location: 'mars' }), 'no-price'],
  ];
  for (const [story, said, code] of cases) {
    assert.deepEqual([said.placement, said.reasons[0].code], ['stay', code], story);
  }
});

test('refuses settings that it does not have', () => {
  for (const text of ['{"cool": 1}', '{"cool-after-days": "1"}', '{"cool-after-days": 36501}']) {
    assert.notDeepEqual(settingsOf(text, SETTINGS).wrong, [], text);
  }
});
