import { brokenInvariants } from '../../test/support/people.ts';
import { besiege } from '../abuse/siege.ts';
import type { Drill } from '../drill.ts';
import { fuzz as shoot } from '../fuzz/fuzz.ts';

export const fuzz: Drill = {
  name: 'fuzz',
  story: 'every method, every wire, every role: bytes and JSON right and wrong, for --seconds; no answer is INTERNAL',
  breaks: [
    {
      file: 'src/rpc/validate.ts',
      from: "if (first) throw new Fault('FIELD_INVALID'",
      to: "if (first?.field === '') throw new Fault('FIELD_INVALID'",
      means: 'requests are looked at by nobody before they reach the verbs',
    },
    {
      file: 'src/rpc/errors.ts',
      from: 'new ConnectError(fault.message.toWellFormed(), CODE[fault.reason], undefined, details);',
      to: "new ConnectError(fault.message + ' at ' + import.meta.filename, CODE[fault.reason], undefined, details);",
      means: 'refusals show a path of the server',
    },
  ],
  run: (stage) =>
    besiege(stage, async ({ clinic, service }) => {
      const fuzzed = await shoot({ ...stage, ports: service, backstage: clinic });
      const broken = await brokenInvariants(clinic);
      if (fuzzed.findings.length > 0) throw new Error(fuzzed.findings.join('\n'));
      if (Object.keys(broken).length > 0) throw new Error(`broken: ${JSON.stringify(broken)}`);
      return [
        `${fuzzed.shots} shots`,
        JSON.stringify(fuzzed.codes),
        `never OK: ${fuzzed.neverOk.join(', ') || 'none'}`,
      ];
    }),
};
