/**
 * What a Tidegate policy in JavaScript says, in few words: decisions, choices, what is wrong with settings, and the component
 * around it all.
 *
 * Everything is plain data under the contract's names, as `tidegate policy eval` reads and prints it: a request is an object,
 * an enum's case is its name, a length of time is a number of milliseconds. A policy and its tests run under Node as they are.
 */

/** In milliseconds, the contract's unit. */
export const DAY = 86_400_000;

/** The policy cannot decide: the host holds, and raises an alarm. */
export class Declined extends Error {}

/** A code for machines (kebab-case), a sentence for people. */
export const reason = (code, text) => ({ code, text });

/** A site that was weighed and passed over. */
export const veto = (site, code, text) => ({ candidate: { site }, reason: reason(code, text) });

/** All traffic to a site, at once unless `shifts` says in which steps: `[[per cent, milliseconds]]`, the last 100 per cent. */
export const move = (site, { shifts = [[100, 0]], promote = [], expectedLoss = null } = {}) => ({
  'to-site': site,
  promote,
  shifts: shifts.map(([share, hold]) => ({ share, hold })),
  'expected-loss': expectedLoss,
});

/** A verdict with its first reason, whose code is also the analysis unless another is given. */
export const decision = (verdict, code, text, more = {}) => ({
  verdict,
  analysis: more.analysis ?? code,
  reasons: [reason(code, text)],
  vetoes: more.vetoes ?? [],
  'would-change-if': more.wouldChangeIf ?? [],
  'ask-again-in': more.askAgainIn ?? null,
  memo: more.memo ?? '',
  facts: [],
});

/** Change nothing. */
export const hold = (code, text, more) => decision('hold', code, text, more);

/** Look at these sites again now, then ask again. */
export const probeMore = (sites, code, text, more) =>
  decision({ 'probe-more': sites.map((site) => ({ site, node: null })) }, code, text, more);

/** The active side is lost: move to a site, or by a `move`. */
export const failOver = (to, code, text, more) => decision({ 'fail-over': aMove(to) }, code, text, more);

/** Both sides are alive: move, and lose nothing. */
export const switchOver = (to, code, text, more) => decision({ 'switch-over': aMove(to) }, code, text, more);

/** Move back to the preferred site. */
export const failBack = (to, code, text, more) => decision({ 'fail-back': aMove(to) }, code, text, more);

/** Have a person decide between these sites or moves, the best first, within so many milliseconds. */
export const ask = (question, options, expiresIn, code, text, more) =>
  decision({ ask: { text: question, options: options.map(aMove), 'expires-in': expiresIn } }, code, text, more);

/** A site by its name. */
export function siteOf(situation, name) {
  const found = situation.sites.find((site) => site.site === name);
  if (!found) throw new Declined(`there is no site ${name}`);
  return found;
}

/** The site that serves now. */
export const activeSite = (situation) => siteOf(situation, situation['active-site']);

/** Every site but the active one, in the operator's order. */
export const otherSites = (situation) =>
  situation.sites.filter((site) => site.site !== situation['active-site']).sort((a, b) => a.rank - b.rank);

/** Whether the vantage points agree that it works. */
export const isHealthy = (site) => site.consensus.status === 'healthy';

/** Leave an object where it is. */
export const stay = (key, code, text) => ({ key, placement: 'stay', saves: 0, reasons: [reason(code, text)] });

/** Store an object as another class, which saves that much a month. */
export const moveTo = (key, storageClass, saves, code, text) => ({
  key,
  placement: { 'move-to': storageClass },
  saves,
  reasons: [reason(code, text)],
});

/** Whole days from one moment to another; none where the first is the later one, as clocks may have it. */
export const daysBetween = (start, end) => Math.floor(Math.max(end - start, 0) / DAY);

/** The quotient of two BigInts as money, towards zero. What a number cannot hold exactly becomes the most that it can. */
export function money(exact, dividedBy = 1n) {
  const most = Number.MAX_SAFE_INTEGER;
  return Math.max(-most, Math.min(Number(exact / dividedBy), most));
}

/** The settings that a JSON text stands for, with the schema's defaults, and everything that is wrong with them. */
export function settingsOf(text, schema) {
  let given;
  try {
    given = JSON.parse(text || '{}');
  } catch (error) {
    return { settings: {}, wrong: [{ at: '', text: error.message }] };
  }
  const wrong = problems(given, schema);
  if (wrong.length > 0) return { settings: {}, wrong };
  const settings = {};
  for (const [key, of] of Object.entries(schema.properties ?? {})) if ('default' in of) settings[key] = of.default;
  return { settings: { ...settings, ...given }, wrong };
}

/**
 * What is wrong with a value: `{ at: JSON Pointer, text }`.
 *
 * Of JSON Schema: type, minimum, maximum, items, required, properties and additionalProperties. What a schema does not name is
 * refused, because a misspelt setting is a setting that does nothing.
 */
export function problems(value, schema, at = '') {
  const kind = schema.type;
  if (kind !== typeOf(value) && !(kind === 'number' && typeOf(value) === 'integer')) {
    return [{ at, text: `${JSON.stringify(value)} is no ${kind}` }];
  }
  if (value < schema.minimum) return [{ at, text: `at least ${schema.minimum}` }];
  if (value > schema.maximum) return [{ at, text: `at most ${schema.maximum}` }];
  if (kind === 'array' && schema.items) {
    return value.flatMap((item, index) => problems(item, schema.items, `${at}/${index}`));
  }
  return kind === 'object' ? inObject(value, schema, at) : [];
}

/** The component's exports: `export const { plugin, failoverPolicy } = failoverComponent({ …, decide })` ends a policy's file. */
export const failoverComponent = (policy) => component(policy, 'failoverPolicy', 'decide');

/** The same of a retention policy: `export const { plugin, retentionPolicy } = retentionComponent({ …, select })`. */
export const retentionComponent = (policy) => component(policy, 'retentionPolicy', 'select');

/** The same of a tiering policy: `export const { plugin, tieringPolicy } = tieringComponent({ …, place })`. */
export const tieringComponent = (policy) => component(policy, 'tieringPolicy', 'place');

/** The same of a cost policy: `export const { plugin, costPolicy } = costComponent({ …, advise })`. */
export const costComponent = (policy) => component(policy, 'costPolicy', 'advise');

function component({ name, version, summary, settings: schema, memoFormat = '', ...policy }, kind, verb) {
  return {
    plugin: {
      describe: () => ({ name, version, summary, settingsSchema: JSON.stringify(schema), wants: [], memoFormat }),
      checkSettings(text) {
        const { wrong } = settingsOf(text, schema);
        if (wrong.length > 0) throw wrong;
      },
    },
    [kind]: {
      [verb](request) {
        // They were accepted by `checkSettings` before anything is decided.
        const { settings } = settingsOf(request.settings, schema);
        try {
          return record(policy[verb](plain(request), settings));
        } catch (error) {
          // What is thrown as text is the contract's error; anything else is a crash.
          throw error instanceof Declined ? error.message : error;
        }
      },
    },
  };
}

const aMove = (to) => (typeof to === 'string' ? move(to) : to);

function typeOf(value) {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return Number.isInteger(value) ? 'integer' : typeof value;
}

function inObject(value, schema, at) {
  const known = schema.properties ?? {};
  const missing = (schema.required ?? []).filter((key) => !(key in value));
  const found = missing.map((key) => ({ at, text: `${key} is missing` }));
  for (const [key, item] of Object.entries(value)) {
    const pointer = `${at}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    const below = known[key] ?? schema.additionalProperties;
    if (below) found.push(...problems(item, below, pointer));
    else found.push({ at: pointer, text: `unknown key; known here: ${Object.keys(known).join(', ')}` });
  }
  return found;
}

/** A component's value as plain data: kebab-case keys, null for what is not there, numbers for 64-bit integers (exact up to 2^53). */
function plain(value) {
  if (typeof value === 'bigint') return Number(value);
  if (typeof value !== 'object' || value === null) return value ?? null;
  if (Array.isArray(value)) return value.map(plain);
  const copy = {};
  for (const key in value) copy[kebab(key)] = plain(value[key]);
  return copy;
}

/** Remembered, because there are few and each comes often. */
const kebabs = new Map();

function kebab(key) {
  if (!kebabs.has(key)) kebabs.set(key, key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`));
  return kebabs.get(key);
}

/** Where the contract has variants, which are `"hold"` or `{ "fail-over": … }` as plain data. */
const VARIANTS = ['verdict', 'candidate', 'placement'];

/** Plain data as a component's value: the way back. */
function record(said) {
  if (typeof said !== 'object' || said === null) return said ?? undefined;
  if (Array.isArray(said)) return said.map(record);
  const copy = {};
  for (const key in said) copy[camel(key)] = VARIANTS.includes(key) ? tagged(said[key]) : record(said[key]);
  return copy;
}

/** `{ site: "east" }` as `{ tag: "site", val: "east" }`. */
function tagged(said) {
  if (typeof said === 'string') return { tag: said };
  const [[tag, val]] = Object.entries(said);
  return { tag, val: record(val) };
}

const camel = (key) => key.replace(/-[a-z]/g, (letter) => letter[1].toUpperCase());
