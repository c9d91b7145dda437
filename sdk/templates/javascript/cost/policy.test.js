/** What the policy promises, each promise once. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { advise, SETTINGS } from './policy.js';
import { settingsOf } from './tidegate.js';

const HOUR = 3_600_000;
const ONE = 1_000_000;
const MOST = Number.MAX_SAFE_INTEGER;

const offer = (strategy, monthly, rto) => ({
  strategy,
  monthly: monthly * ONE,
  rto,
  rpo: 60_000,
  sites: ['west', 'east'],
});

const OFFERS = [offer('backup-restore', 100, 4 * HOUR), offer('active-active', 2_000, 0), offer('pilot-light', 400, HOUR)];

/** It has to be back within an hour, and is restored from backups today. */
const shop = (more = {}) => ({
  service: 'shop',
  objectives: { rto: HOUR, rpo: 300_000 },
  'impact-per-hour': 1_000 * ONE,
  'incidents-per-year': 0.5,
  current: 'backup-restore',
  offers: OFFERS,
  ...more,
});

const asset = (id, monthly, utilisation, site = 'north') => ({
  id,
  service: 'shop',
  site,
  monthly: monthly * ONE,
  utilisation,
});

const ask = (services, { assets = [], budget = null } = {}) =>
  advise({ services, assets, 'monthly-budget': budget }, settingsOf('', SETTINGS).settings);

test('takes the cheapest offer that meets the objectives', () => {
  const { assignments: [said], monthly, warnings } = ask([shop()]);
  const told = [said.strategy, said['meets-objectives'], said.monthly, monthly, warnings];
  assert.deepEqual(told, ['pilot-light', true, 400 * ONE, 400 * ONE, []]);
});

test('what is avoided is what the shorter outages would have cost', () => {
  // Three hours less, at 1000 an hour, every other year.
  const cases = [['backup-restore', 1_500 * ONE], ['active-active', -500 * ONE], ['active-passive', 0]];
  for (const [current, avoided] of cases) {
    assert.equal(ask([shop({ current })])['avoided-loss-yearly'], avoided, current);
  }
});

test('nothing overflows', () => {
  const offers = OFFERS.map((one) => ({ ...one, monthly: MOST }));
  const priceless = shop({ 'impact-per-hour': MOST, 'incidents-per-year': Infinity, offers });
  const advice = ask([priceless, priceless]);
  assert.deepEqual([advice.monthly, advice['avoided-loss-yearly']], [MOST, MOST]);
});

test('warns of what cannot be met and of what cannot be paid', () => {
  const hurried = shop({ objectives: { rto: HOUR, rpo: 0 } });
  const { assignments: [said], warnings } = ask([hurried, shop({ service: 'bare', offers: [] })]);
  assert.deepEqual([said.strategy, said['meets-objectives']], ['active-active', false]);
  assert.deepEqual(warnings.map(({ code }) => code), ['no-offer', 'objectives-unmet']);
  assert.deepEqual([399, 400].map((budget) => ask([shop()], { budget: budget * ONE }).warnings.length), [1, 0]);
});

test('names what is idle and what may yet stand by', () => {
  const assets = [asset('busy', 90, 0.05), asset('idle', 70, 0.049), asset('standby', 50, 0, 'east')];
  const [idle, standby] = ask([shop()], { assets }).savings;
  assert.deepEqual([idle.asset, idle.monthly, standby.asset], ['idle', 70 * ONE, 'standby']);
  assert.match(standby.risk, /stands by/);
});

test('refuses settings that it does not have', () => {
  for (const text of ['{"idle": 5}', '{"idle-percent": "5"}', '{"idle-percent": 101}']) {
    assert.notDeepEqual(settingsOf(text, SETTINGS).wrong, [], text);
  }
});
