/**
 * Text as it may go to a terminal. Names, conditions and messages may have been written by a peer or a tenant: escape codes
 * (C0 and C1), DEL and what turns the direction of writing become `?`; new lines and tabs stay.
 */
export const safeText = (text: string): string =>
  text.replaceAll(/[[\p{Cc}\u200E\u200F\u202A-\u202E\u2066-\u2069]--[\t\n]]/gv, '?');

/** {@link safeText} on one line: for cells and branches, where a line break would fake another row. */
export const safeLine = (text: string): string => safeText(text).replaceAll(/[\n\t\u2028\u2029]+/g, ' ');
