/** Leaves a site that is lost, for the best one that works, and stays put as long as anything is unclear. */

import { activeSite, failOver, failoverComponent, hold, isHealthy, otherSites, reason, veto } from './tidegate.js';

/** What an operator can set, as a JSON Schema; the host shows it, and refuses what does not fit. */
export const SETTINGS = {
  type: 'object',
  properties: {
    'patience-seconds': {
      description: 'How long a site has to be found unhealthy before it is left.',
      type: 'integer',
      minimum: 0,
      maximum: 3600,
      default: 10,
    },
  },
  additionalProperties: false,
};

/** Where the service should be served from: a pure function, called whenever something has changed. */
export function decide(situation, settings) {
  const { site: at, consensus } = activeSite(situation);
  const patience = settings['patience-seconds'] * 1_000;
  if (consensus.status !== 'unhealthy') {
    const until = reason('lost', `${at} is found unhealthy for ${settings['patience-seconds']} s`);
    return hold('in-place', `${at} is not lost`, { wouldChangeIf: [until] });
  }
  if (consensus.held < patience) {
    return hold('not-yet-sure', `${at} may yet come back`, { askAgainIn: patience - consensus.held });
  }
  const [to] = otherSites(situation).filter(isHealthy);
  const fails = otherSites(situation).filter((site) => !isHealthy(site));
  const vetoes = fails.map(({ site }) => veto(site, 'not-healthy', 'it is not known to work'));
  return to
    ? failOver(to.site, 'lost', `${at} is lost, ${to.site} works`, { vetoes })
    : hold('nowhere-to-go', `${at} is lost, and no other site is known to work`, { vetoes });
}

export const { plugin, failoverPolicy } = failoverComponent({
  name: 'new-policy',
  version: '0.1.0',
  summary: 'new-summary',
  settings: SETTINGS,
  decide,
});
