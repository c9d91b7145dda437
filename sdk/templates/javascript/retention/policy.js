/** Keeps what is young, what has to stay, and what that needs to be restored. Everything else goes. */

import { DAY, reason, retentionComponent } from './tidegate.js';

/** What an operator can set, as a JSON Schema; the host shows it, and refuses what does not fit. */
export const SETTINGS = {
  type: 'object',
  properties: {
    'keep-days': {
      description: 'Every backup younger than this stays.',
      type: 'integer',
      minimum: 0,
      maximum: 36_500,
      default: 30,
    },
    'keep-last': {
      description: 'So many full backups stay, the newest, however old they are.',
      type: 'integer',
      minimum: 1,
      default: 3,
    },
  },
  additionalProperties: false,
};

/** One choice for each backup of the request, in its order. */
export function select(request, settings) {
  const known = new Map(request.backups.map((backup) => [backup.id, backup]));
  const choices = forItsOwnSake(request, settings, known);
  const needed = neededBy(request.backups.filter((_, at) => choices[at].keep), known);
  for (const said of choices) {
    if (needed.has(said.id)) {
      said.keep = true;
      said.reasons.push(reason('needed', `${needed.get(said.id)} cannot be restored without it`));
    }
    if (!said.keep) said.reasons.push(reason('expired', 'nothing keeps it, and nothing that stays needs it'));
  }
  return choices;
}

/** Doubt keeps: what is from the future is young, and a person judges what needs a backup that is not among these. */
function forItsOwnSake({ now, dataset, backups }, { 'keep-days': keepDays, 'keep-last': keepLast }, known) {
  const last = newest(backups.filter(({ kind }) => kind === 'full'), keepLast);
  const proven = newest(backups.filter((backup) => backup['verified-at'] !== null), 1);
  const minimumAge = dataset['minimum-age'] ?? 0;
  return backups.map((backup) => {
    const { id, kind, parent, holds, 'taken-at': takenAt } = backup;
    const age = Math.max(now - takenAt, 0);
    const isLast = kind === 'full' && takenAt >= last;
    const isProven = backup['verified-at'] !== null && takenAt >= proven;
    const isLocked = backup['locked-until'] !== null && backup['locked-until'] > now;
    const isOrphan = parent !== null && !known.has(parent);
    const rules = [
      [age < keepDays * DAY, 'young', `it is younger than ${keepDays} days`],
      [age < minimumAge, 'minimum-age', 'it is younger than its data set allows to go'],
      [isLast, 'last', `it is one of the last ${keepLast} full backups`],
      [isProven, 'proven', 'it is the newest from which a restore is proven'],
      [isLocked, 'locked', 'its store has it locked'],
      [holds.length > 0, 'held', `it is held for ${holds.join(', ')}`],
      [isOrphan, 'parent-unknown', `it needs ${parent}, which is not here`],
    ];
    const reasons = rules.filter(([applies]) => applies).map(([, code, text]) => reason(code, text));
    return { id, keep: reasons.length > 0, reasons };
  });
}

/** When the `count`th newest was taken, or the oldest if there are fewer. */
function newest(backups, count) {
  const taken = backups.map((backup) => backup['taken-at']).sort((one, other) => other - one);
  return taken.slice(0, count).at(-1) ?? 0;
}

/** Whatever a kept backup needs to be restored, and for which one. */
function neededBy(kept, known) {
  const needed = new Map();
  for (let child of kept) {
    for (let parent; (parent = known.get(child.parent)); child = parent) {
      if (needed.has(parent.id)) break; // From there on it has been walked, or it is a circle.
      needed.set(parent.id, child.id);
    }
  }
  return needed;
}

export const { plugin, retentionPolicy } = retentionComponent({
  name: 'new-policy',
  version: '0.1.0',
  summary: 'new-summary',
  settings: SETTINGS,
  select,
});
