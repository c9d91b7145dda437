/** Moves what nobody reads to where it costs less and can still be read in time. Nothing expires. */

import { daysBetween, money, moveTo, stay, tieringComponent } from './tidegate.js';

const DAYS = { type: 'integer', minimum: 0, maximum: 36_500 };

/** What an operator can set, as a JSON Schema; the host shows it, and refuses what does not fit. */
export const SETTINGS = {
  type: 'object',
  properties: {
    'cool-after-days': {
      description: 'How long an object has not been read before it may become cool.',
      default: 30,
      ...DAYS,
    },
    'cold-after-days': { description: 'How long before it may become cold.', default: 90, ...DAYS },
    'archive-after-days': { description: 'How long before it may go to the archive.', default: 365, ...DAYS },
  },
  additionalProperties: false,
};

/** The quickest to read first. */
const CLASSES = ['hot', 'cool', 'cold', 'archive'];
const GIGABYTE = 1_000_000_000n;

/** One choice for each item of the request, in its order. */
export const place = (request, settings) => request.items.map((item) => choose(item, request, settings));

function choose(item, { now, rto, prices }, settings) {
  const { key, size, location, 'stored-as': storedAs, 'stored-since': storedSince } = item.object;
  const bound = binding(item, now);
  if (bound) return stay(key, ...bound);
  const atItsPlace = prices.filter((price) => price.location === location);
  const here = atItsPlace.find((price) => price['stored-as'] === storedAs);
  if (!here) return stay(key, 'no-price', 'nobody has said what it costs where it is');
  // It has been paid for until then, so that to leave would save nothing.
  if (daysBetween(storedSince, now) < here['minimum-days']) {
    return stay(key, 'minimum-days', `its class charges for ${here['minimum-days']} days`);
  }
  // Where nobody counts reads, the day on which it was written is all that is known.
  const unread = daysBetween(item.object['accessed-at'] ?? item.object['created-at'], now);
  const fits = (price) => {
    const inTime = rto === null || price['retrieval-time'] <= rto;
    return rank(price) > rank(here) && inTime && unread >= settings[`${price['stored-as']}-after-days`];
  };
  const colder = atItsPlace.filter(fits).map((price) => ({ price, saves: year(here, price, size) }));
  const [best] = colder.sort((one, other) => other.saves - one.saves || rank(one.price) - rank(other.price));
  if (!best) return stay(key, 'in-place', 'it is read too often, or no colder class is quick enough');
  if (best.saves <= 0) return stay(key, 'no-saving', 'no class that is quick enough costs less for it');
  const saves = month(here, size) - month(best.price, size);
  const to = best.price['stored-as'];
  return moveTo(key, to, saves, 'unread', `not read for ${unread} days, and ${to} is cheaper for it`);
}

/** What must stay where it can be read at once, and untouched, whatever it costs: by which rule. */
function binding(item, now) {
  const lockedUntil = item.object['locked-until'];
  const rules = [
    [item['only-verified-copy'], 'only-verified-copy', 'no other copy is proven to restore'],
    [item.object['legal-hold'], 'legal-hold', 'a case holds it'],
    [lockedUntil !== null && lockedUntil > now, 'locked', 'its store has it locked'],
  ];
  return rules.find(([holds]) => holds)?.slice(1);
}

const rank = (price) => CLASSES.indexOf(price['stored-as']);

/** What a month of it costs: a small object is charged as a larger one. */
const month = (price, size) => times(price['gigabyte-month'], Math.max(size, price['minimum-bytes']));

/**
 * What a year elsewhere saves.
 *
 * Twelve months, less what it costs to read it once to be moved, to write it by one request, and to read it back once. Simple,
 * and on the safe side: what nobody has read for so long may never be read again.
 */
function year(here, there, size) {
  const reading = times(here['retrieval-gigabyte'], size) + times(there['retrieval-gigabyte'], size);
  const moving = reading + money(BigInt(there['thousand-requests']), 1_000n);
  return (month(here, size) - month(there, size)) * 12 - moving;
}

/** In integers of any length, because price times size is soon more than a number holds exactly. */
const times = (perGigabyte, bytes) => money(BigInt(perGigabyte) * BigInt(bytes), GIGABYTE);

export const { plugin, tieringPolicy } = tieringComponent({
  name: 'new-policy',
  version: '0.1.0',
  summary: 'new-summary',
  settings: SETTINGS,
  place,
});
