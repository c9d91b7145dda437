/** Asks while somebody is at the desk, and moves by itself while nobody is. */

import { activeSite, ask, failOver, failoverComponent, hold, isHealthy, otherSites } from '../../sdk/javascript/tidegate.js';

const HOUR = { type: 'integer', minimum: 0, maximum: 24 };

export const SETTINGS = {
  type: 'object',
  properties: {
    from: { description: 'The hour (UTC) at which the desk opens, Monday to Friday.', default: 8, ...HOUR },
    until: { description: 'The hour (UTC) at which it closes.', default: 17, ...HOUR },
    'answer-minutes': { description: 'How long a question stays open.', type: 'integer', minimum: 1, default: 10 },
  },
  additionalProperties: false,
};

export function decide(situation, settings) {
  const { site: at, consensus } = activeSite(situation);
  if (consensus.status !== 'unhealthy') return hold('in-place', `${at} is not lost`);
  const works = otherSites(situation).filter(isHealthy).map(({ site }) => site);
  if (works.length === 0) return hold('nowhere-to-go', `${at} is lost, and no other site is known to work`);
  if (isStaffed(new Date(situation.now), settings)) {
    const open = settings['answer-minutes'] * 60_000;
    return ask(`${at} is lost: where should it be served from?`, works, open, 'staffed', 'somebody is at the desk');
  }
  return failOver(works[0], 'unstaffed', `${at} is lost, and nobody is at the desk`);
}

function isStaffed(now, { from, until }) {
  const weekday = now.getUTCDay() >= 1 && now.getUTCDay() <= 5;
  return weekday && now.getUTCHours() >= from && now.getUTCHours() < until;
}

export const { plugin, failoverPolicy } = failoverComponent({
  name: 'policy-javascript-office-hours',
  version: '0.1.0',
  summary: 'Asks while somebody is at the desk, and moves by itself while nobody is',
  settings: SETTINGS,
  decide,
});
