import { ERROR_CODES, FluviaError } from '../api/errors.ts';

/** A variable that the pod's specification sets. Throws BAD_INPUT when it is missing. */
export const required = (name: string, env: NodeJS.ProcessEnv = process.env): string => {
  const value = env[name];
  if (value === undefined || value === '') {
    throw new FluviaError(ERROR_CODES.BAD_INPUT, `the environment has no ${name}`, {
      kind: 'terminal',
      hint: 'the pod specification of `fluviactl install` sets it',
    });
  }
  return value;
};
