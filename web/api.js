// Requests to the gateway, and why it refused.

import { bearer, session } from './start.js';
import { lookUp, t } from './words.js';

/** Why a request has no good answer; `status` is 0 where nothing was answered. */
export class Refused extends Error {
  constructor(status, body, retryAfter) {
    super(body?.message ?? '');
    this.status = status;
    this.code = body?.code;
    this.retryAfter = retryAfter;
  }
}

/** What is done once the gateway does not know the token any more. */
export const refused = { token() {} };

/** Asks the gateway, and returns the JSON of its answer.
 * @param {string} path @param {{method?: string, body?: object, token?: string | null}} [options] */
export async function ask(path, { method, body, token = session.token() } = {}) {
  const answer = await fetch(path, {
    method,
    headers: { ...bearer(token), ...(body && { 'Content-Type': 'application/json' }) },
    body: body && JSON.stringify(body),
    cache: 'no-store',
  }).catch(() => {
    throw new Refused(0);
  });
  const json = await answer.json().catch(() => null);
  if (answer.ok) return json;
  if (answer.status === 401 && token === session.token()) refused.token();
  throw new Refused(answer.status, json, Number(answer.headers.get('Retry-After')));
}

export const post = (path, body = /** @type {object | undefined} */ (undefined)) => ask(path, { method: 'POST', body });

/** Returns why something was refused, in words: by its code where that is known. @returns {string} */
export function why(error) {
  if (error.status === 0) return t('signIn.unreachable');
  return lookUp(`refusals.${error.code}`) ?? (error.status === 403 ? t('readOnlyReason') : error.message);
}
