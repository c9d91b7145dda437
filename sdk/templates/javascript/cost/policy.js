/** Protects each service by the cheapest offer that meets its objectives, and says what nobody seems to need. */

import { costComponent, money, reason } from './tidegate.js';

/** What an operator can set, as a JSON Schema; the host shows it, and refuses what does not fit. */
export const SETTINGS = {
  type: 'object',
  properties: {
    'idle-percent': {
      description: 'What is used less than this, in per cent, could be saved.',
      type: 'integer',
      minimum: 0,
      maximum: 100,
      default: 5,
    },
  },
  additionalProperties: false,
};

/** Milliseconds in an hour; and into how many parts an incident a year is counted. */
const HOUR = 3_600_000n;
const PARTS = 1_000n;

/** Pure, like every policy: the same request gives the same advice. */
export function advise(request, settings) {
  const offered = request.services.filter(({ offers }) => offers.length > 0);
  const chosen = offered.map((service) => ({ service, offer: best(service) }));
  const assignments = chosen.map(({ service, offer }) => assignment(service, offer));
  const monthly = total(assignments.map((assigned) => assigned.monthly));
  const idle = request.assets.filter(({ utilisation }) => utilisation * 100 < settings['idle-percent']);
  return {
    assignments,
    savings: idle.map((asset) => saving(asset, chosen)),
    monthly,
    'avoided-loss-yearly': total(assignments.map((assigned) => assigned['avoided-loss-yearly'])),
    warnings: warnings(request, assignments, monthly),
  };
}

const meets = (offer, { objectives }) => offer.rto <= objectives.rto && offer.rpo <= objectives.rpo;

/** The cheapest that meets the objectives, of two the quicker one; where none does, the quickest of all. */
function best(service) {
  const good = service.offers.filter((offer) => meets(offer, service));
  const [cheapest] = good.sort((one, other) => one.monthly - other.monthly || one.rto - other.rto);
  const byTime = (one, other) => one.rto - other.rto || one.rpo - other.rpo || one.monthly - other.monthly;
  return cheapest ?? [...service.offers].sort(byTime)[0];
}

function assignment(service, offer) {
  const { strategy, monthly } = offer;
  const good = meets(offer, service);
  const why = good
    ? reason('cheapest', `${strategy} is the cheapest that meets its objectives`)
    : reason('quickest', `nothing meets its objectives, and ${strategy} is the quickest`);
  return {
    service: service.service,
    strategy,
    monthly,
    'avoided-loss-yearly': avoided(service, offer),
    'meets-objectives': good,
    reasons: [why],
  };
}

/**
 * What outages cost less in a year than today.
 *
 * Each is shorter by the difference between today's recovery time and the chosen one, and each hour of it would have cost the
 * service's impact. Nothing where today's offer is not known.
 */
function avoided(service, offer) {
  const today = service.offers.find(({ strategy }) => strategy === service.current) ?? offer;
  const shorter = BigInt(today.rto) - BigInt(offer.rto);
  // Whole thousandths, so that all that follows is exact; more than a million incidents are as bad as a million.
  const incidents = Math.floor(Math.min(Math.max(0, service['incidents-per-year'] || 0), 1e6) * 1e3 + 0.5);
  return money(BigInt(service['impact-per-hour']) * BigInt(incidents) * shorter, HOUR * PARTS);
}

function saving({ id, service: name, site, monthly }, chosen) {
  const isNeeded = chosen.some(({ service, offer }) => service.service === name && offer.sites.includes(site));
  const risk = isNeeded
    ? `${name} is protected at ${site}: it may be what stands by`
    : `nothing that was chosen for ${name} needs ${site}`;
  const reasons = [reason('idle', 'it is hardly used')];
  return { asset: id, change: 'stop it, or make it smaller', monthly, risk, reasons };
}

function warnings({ services, 'monthly-budget': budget }, assignments, monthly) {
  const unoffered = services.filter(({ offers }) => offers.length === 0);
  const unmet = assignments.filter((assigned) => !assigned['meets-objectives']);
  const isDear = budget !== null && monthly > budget;
  return [
    ...unoffered.map(({ service }) => reason('no-offer', `nothing is offered for ${service}`)),
    ...unmet.map(({ service }) => reason('objectives-unmet', `nothing meets the objectives of ${service}`)),
    ...(isDear ? [reason('over-budget', 'all of it together costs more a month than the budget has')] : []),
  ];
}

/** In integers of any length, and back. */
const total = (amounts) => money(amounts.reduce((sum, amount) => sum + BigInt(amount), 0n));

export const { plugin, costPolicy } = costComponent({
  name: 'new-policy',
  version: '0.1.0',
  summary: 'new-summary',
  settings: SETTINGS,
  advise,
});
